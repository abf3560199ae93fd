//! A server's consoles: what it printed when it came up, and where its screen would be.

use serde_json::{Value, json};

use super::Cloud;
use super::model::Server;
use super::wire::{Reply, Request, Service, number, text};

const HERE: Service = Service::Compute;
/// From here on screens are asked for as `remote-consoles`, and the action is gone.
pub const REMOTE: u32 = 6;

/// `os-getConsoleOutput`: the last `length` lines.
pub fn output(server: &Server, argument: &Value) -> Reply {
    let length = match &argument["length"] {
        Value::Null => None,
        given => match number(given) {
            Some(length) if length >= -1 => usize::try_from(length).ok(),
            _ => return HERE.error(400, &format!("Invalid input for field/attribute length. Value: {given}.")),
        },
    };
    if server.status == "BUILD" {
        return not_ready(server);
    }
    let lines = if server.status == "ACTIVE" { printed(server) } else { Vec::new() };
    let from = lines.len().saturating_sub(length.unwrap_or(usize::MAX));
    let output: String = lines[from..].iter().map(|line| format!("{line}\n")).collect();
    Reply::json(200, &json!({"output": output}))
}

/// Windows has nothing to say on a serial console.
fn printed(server: &Server) -> Vec<String> {
    let guest = server.guest.as_ref();
    if guest.is_some_and(|guest| guest.windows) {
        return Vec::new();
    }
    let told = |told: fn(&super::model::Guest) -> &String, or: &str| {
        guest.map(told).filter(|told| !told.is_empty()).cloned().unwrap_or_else(|| or.to_owned())
    };
    let host = told(|guest| &guest.hostname, &server.name);
    let system = told(|guest| &guest.pretty_name, "Linux");
    let mut lines = vec![
        "[    0.000000] Command line: BOOT_IMAGE=(hd0,msdos1)/boot/vmlinuz root=/dev/vda1 ro console=tty0 console=ttyS0,115200n8"
            .to_owned(),
        "[    0.000000] Hypervisor detected: KVM".to_owned(),
        "[    1.204512] virtio_blk virtio2: [vda] detected".to_owned(),
        format!("[    2.118230] systemd[1]: Hostname set to <{host}>."),
    ];
    let targets = ["Local File Systems", "Network is Online", "Login Prompts", "Multi-User System"];
    lines.extend(targets.map(|target| format!("[  OK  ] Reached target {target}.")));
    lines.extend([String::new(), system, "Kernel on an x86_64".to_owned(), String::new(), format!("{host} login: ")]);
    lines
}

fn not_ready(server: &Server) -> Reply {
    HERE.error(409, &format!("Instance {} is not ready", server.id))
}

fn url(cloud: &Cloud) -> String {
    let token = super::model::uuid();
    format!("{}/vnc_auto.html?path=%3Ftoken%3D{token}", cloud.base)
}

/// `os-getVNCConsole`
pub fn vnc(cloud: &Cloud, server: &Server, request: &Request<'_>, argument: &Value) -> Reply {
    if request.version >= REMOTE {
        return HERE.error(404, "The resource could not be found.");
    }
    match text(argument, "/type") {
        "novnc" if server.status == "ACTIVE" => {
            Reply::json(200, &json!({"console": {"type": "novnc", "url": url(cloud)}}))
        }
        "novnc" => not_ready(server),
        other => HERE.error(400, &format!("Invalid input for field/attribute type. Value: {other}.")),
    }
}

/// `POST /servers/{id}/remote-consoles`
pub fn remote(cloud: &Cloud, server: &Server, request: &Request<'_>) -> Reply {
    let wanted = &request.body["remote_console"];
    match (text(wanted, "/protocol"), text(wanted, "/type")) {
        ("vnc", "novnc") if server.status == "ACTIVE" => {
            Reply::json(200, &json!({"remote_console": {"protocol": "vnc", "type": "novnc", "url": url(cloud)}}))
        }
        ("vnc", "novnc") => not_ready(server),
        // The lab's cloud has no other proxy.
        ("spice" | "rdp" | "serial" | "mks", kind) => HERE.error(400, &format!("Unavailable console type {kind}.")),
        (protocol, _) => HERE.error(400, &format!("Invalid input for field/attribute protocol. Value: {protocol}.")),
    }
}
