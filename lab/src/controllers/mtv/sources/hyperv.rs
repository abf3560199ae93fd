//! Hyper-V: WinRM (here: the stand-in on its port) for the host, SMB for the disks, virt-v2v for
//! copy and conversion.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::{Mtv, MtvVersion};
use super::standin::{Catalogue, Machine, StandIn, Translation, record};
use super::{Shape, Source, V2V_STEPS, missing};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDatastore, InvNetwork, InvVm, Inventory};

const WINRM: &str = "5986";
/// Simulated time between two looks (`controller_hyperv_refresh_interval`).
const LOOK: Duration = Duration::from_secs(10);
/// The share's storage; a host has one.
const STORAGE: &str = "smb-1";

pub(super) struct Hyperv;

#[async_trait]
impl Source for Hyperv {
    fn preserves_static_ips(&self) -> bool {
        true
    }

    fn tells_insecure(&self) -> bool {
        true
    }

    /// From 2.12 on anything is taken, and what is no address fails when it is dialled (`validateURL`,
    /// `pkg/controller/provider/validation.go`); before that the URL is the share.
    fn bad_url(&self, url: &str, version: MtvVersion) -> Option<&'static str> {
        let bad = !version.at_least(12) && share(url).is_none();
        bad.then_some(
            "The SMB path is malformed. Expected format: //server/share, \\\\server\\share, or smb://server/share",
        )
    }

    fn missing_keys(&self, login: &Login, version: MtvVersion) -> Vec<String> {
        if version.at_least(12) {
            missing(login, &["username", "password", "smbUrl"], true)
        } else {
            missing(login, &["username", "password"], false)
        }
    }

    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        let (host, url) = if mtv.version.at_least(12) {
            (host_of(&login.url)?, login.secret("smbUrl"))
        } else {
            (share(&login.url).map(|(server, _)| server).unwrap_or_default(), login.url.as_str())
        };
        let port = login.settings.get("winrmPort").map_or(WINRM, String::as_str);
        let base = format!("https://{host}:{port}");
        let credentials = (login.secret("username"), login.secret("password"));
        let look = mtv.clock.real(LOOK).max(Duration::from_millis(250));
        let translation = Translation { inventory, id: |machine| machine.uuid.clone() };
        let (client, catalogue) = StandIn::connect(mtv, login, base, credentials, translation, look).await?;
        if share(url).is_none() || share(url) != share(catalogue.facts["share"].as_str().unwrap_or_default()) {
            return Err(ConnectError::Failed(format!("SMB share {url} cannot be mounted")));
        }
        Ok(client)
    }

    fn v2v_transfer(&self, _: bool, _: bool) -> bool {
        true
    }

    fn converts(&self) -> bool {
        true
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        V2V_STEPS.to_vec()
    }

    fn shape(&self, facts: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let domain = &mut machine["spec"]["template"]["spec"]["domain"];
        domain["cpu"]["threads"] = json!(1);
        for (index, disk) in domain["devices"]["disks"].as_array_mut().into_iter().flatten().enumerate() {
            disk.as_object_mut().map(|disk| disk.remove("bootOrder"));
            // In main alone: `DiskSerial`, adapter/base/disk_serial.go.
            if facts.version.at_least(13) {
                disk["serial"] =
                    json!(vm.disks.get(index).map(|disk| disk.source.chars().take(20).collect::<String>()));
            }
        }
        for interface in domain["devices"]["interfaces"].as_array_mut().into_iter().flatten() {
            interface.as_object_mut().map(|interface| interface.remove("model"));
        }
    }
}

/// Server and path of `//server/share`, `\\server\share` or `smb://server/share`, which are the same share.
fn share(url: &str) -> Option<(String, String)> {
    let url = url.replace('\\', "/");
    let (server, path) = url.strip_prefix("smb:").unwrap_or(&url).strip_prefix("//")?.split_once('/')?;
    let plain = |text: &str| !text.is_empty() && !text.starts_with(['/', ' ']);
    (plain(server) && plain(path)).then(|| (server.to_owned(), path.to_owned()))
}

/// What MTV dials of a Provider's URL: a port is dropped, a scheme is not, and is then looked up as a host
/// (`extractHostFromURL`, `pkg/controller/provider/container/hyperv/client.go`).
fn host_of(url: &str) -> Result<String, ConnectError> {
    let url = url.trim();
    if let Some((scheme, _)) = url.split_once("://") {
        let why = format!("dial tcp: lookup {scheme}: no such host");
        return Err(ConnectError::Failed(format!("WinRM command failed: Post \"https://{url}:{WINRM}/wsman\": {why}")));
    }
    if url.starts_with('[') || url.matches(':').count() != 1 {
        return Ok(url.to_owned());
    }
    Ok(url.split(':').next().unwrap_or(url).to_owned())
}

fn switch(index: usize) -> String {
    format!("c08cb7b8-9b3c-408e-8e30-5e16a3aeb44{index}")
}

fn disk_id(machine: &Machine, index: usize) -> String {
    format!("{}-{index}", machine.uuid)
}

fn inventory(catalogue: &Catalogue) -> Inventory {
    let share = catalogue.facts["share"].as_str().unwrap_or_default();
    let mut content = Inventory::default();
    let (mut vms, mut disks) = (Vec::new(), Vec::new());
    for machine in &catalogue.machines {
        let disk = |index| (disk_id(machine, index), STORAGE.to_owned());
        content.vms.push(Arc::new(record(machine, machine.uuid.clone(), switch, disk)));
        let own: Vec<Value> = (0..machine.disks.len()).map(|index| disk_json(machine, index, share)).collect();
        for disk in &own {
            let mut alone = disk.clone();
            alone["datastore"] = json!(STORAGE);
            disks.push(alone);
        }
        vms.push(vm_json(machine, &catalogue.networks, own));
    }
    let networks = catalogue.networks.iter().enumerate().map(|(index, name)| {
        json!({"id": switch(index), "uuid": switch(index), "name": name, "revision": 1, "switchName": name, "switchType": "External", "description": ""})
    });
    content.show("networks", networks);
    content.show("vms", vms);
    content.show("disks", disks);
    let storage = json!({"id": STORAGE, "name": share, "revision": 1, "type": "SMB", "path": share, "capacity": 4_u64 << 40, "free": 2_u64 << 40});
    content.show("storages", [storage]);
    content.networks = (catalogue.networks.iter().enumerate())
        .map(|(index, name)| InvNetwork {
            id: switch(index),
            name: name.clone(),
            kind: "Network".to_owned(),
            key: None,
        })
        .collect();
    let (capacity, free) = (4_i64 << 40, 2_i64 << 40);
    content.datastores =
        vec![InvDatastore { id: STORAGE.to_owned(), name: share.to_owned(), capacity, free, kind: "SMB".to_owned() }];
    content
}

fn disk_json(machine: &Machine, index: usize, share: &str) -> Value {
    let file = format!("{}-{index}.vhdx", machine.name);
    json!({
        "id": disk_id(machine, index), "name": file, "revision": 1, "windowsPath": format!("D:\\vms\\{file}"),
        "smbPath": format!("{share}/{file}"), "capacity": machine.disks.get(index).map(|gib| gib << 30),
        "format": "vhdx", "rctEnabled": false, "datastore": {"kind": "Storage", "id": STORAGE},
    })
}

fn vm_json(machine: &Machine, networks: &[String], disks: Vec<Value>) -> Value {
    let nics: Vec<Value> = (machine.nics.iter().enumerate())
        .map(|(index, nic)| {
            json!({
                "name": format!("Network Adapter {}", index + 1), "mac": nic.mac.to_uppercase(), "deviceIndex": index,
                "network": {"kind": "Network", "id": switch(nic.network)}, "networkName": networks.get(nic.network), "vlanId": 0,
            })
        })
        .collect();
    // The integration services tell addresses of a running guest only.
    let guests: Vec<Value> = (machine.nics.iter().enumerate())
        .filter(|_| machine.on)
        .filter_map(|(index, nic)| {
            let ip = nic.fixed.as_ref()?;
            let gateway = ip.rsplit_once('.').map(|(net, _)| format!("{net}.1"));
            Some(json!({
                "mac": nic.mac.to_uppercase(), "ip": ip, "deviceIndex": index, "origin": "Manual", "prefix": 24,
                "dns": ["10.50.0.2"], "gateway": gateway,
            }))
        })
        .collect();
    let secure = machine.efi && machine.windows;
    json!({
        "id": machine.uuid, "name": machine.name, "revision": 1 + u64::from(machine.on), "revisionValidated": 1, "concerns": [],
        "uuid": machine.uuid, "powerState": if machine.on { "On" } else { "Off" }, "cpuCount": machine.cpus,
        "memoryMB": machine.memory_mib, "firmware": if machine.efi { "uefi" } else { "bios" }, "guestOS": machine.system,
        "tpmEnabled": secure, "secureBoot": secure, "hasCheckpoint": false, "host": "", "guestNetworks": guests,
        "networks": machine.nics.iter().map(|nic| json!({"kind": "Network", "id": switch(nic.network)})).collect::<Vec<_>>(),
        "disks": disks, "nics": nics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_2_12_the_url_is_the_share_and_from_then_on_a_host() {
        let (old, new) = (MtvVersion::parse("2.11").unwrap(), MtvVersion::parse("2.12").unwrap());
        for url in ["//hv/vms", r"\\hv\vms", "smb://hv/vms"] {
            assert_eq!(share(url), Some(("hv".to_owned(), "vms".to_owned())), "{url}");
            assert_eq!(Hyperv.bad_url(url, old), None, "{url}");
        }
        for url in ["hv", "hv:5986", "https://hv", "//hv", "//hv/"] {
            assert!(Hyperv.bad_url(url, old).is_some_and(|why| why.contains("SMB path")), "{url}");
            assert_eq!(Hyperv.bad_url(url, new), None, "{url}");
        }
    }

    #[test]
    fn a_port_is_dropped_from_the_host_and_a_scheme_is_looked_up_as_one() {
        let host = |url| host_of(url).ok();
        assert_eq!(host("hv.example"), Some("hv.example".to_owned()));
        assert_eq!(host(" hv.example:5986 "), Some("hv.example".to_owned()));
        assert_eq!(host("[::1]"), Some("[::1]".to_owned()));
        let Err(ConnectError::Failed(why)) = host_of("https://hv.example") else { panic!("a scheme") };
        assert!(why.contains("lookup https: no such host"), "{why}");
    }
}
