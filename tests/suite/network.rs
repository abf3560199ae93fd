//! The binary against the lab over whatever lies between: kubeconfigs, proxies, credential plugins; and what
//! of it may be told. One sentence a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::common::{LabServer, Place, Running};

const COLD: &str = "test_sanity_cold_mtv_migration";
/// Nothing listens there.
const DEAD: &str = "http://127.0.0.1:9";

/// An HTTP CONNECT proxy that knows one more name: `names` are led to loopback. What was asked of it.
fn connect_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(head);
                let port = target.rsplit(':').next().unwrap_or_default();
                let Ok(server) = TcpStream::connect(format!("127.0.0.1:{port}")) else { return };
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let (mut from, mut to) = (server, client);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    (address, asked)
}

#[test]
fn a_list_of_kubeconfigs_works_as_with_kubectl() {
    let place = Place::new();
    let lab = LabServer::start(&place, "");
    let own = lab.kubeconfig.display().to_string();
    for list in [format!("{own}:"), format!("{own}:/nowhere/kubeconfig"), format!("/nowhere/kubeconfig:{own}")] {
        let mut command = lab.command(&place, "doctor");
        Running::start(command.env("KUBECONFIG", &list)).end().exits(0);
    }
    let mut command = lab.command(&place, "doctor --set kubeconfig_context=other");
    Running::start(&mut command).end().exits(3).says("no context other; its contexts are lab");
    lab.ends_clean();
}

#[test]
fn loopback_is_never_proxied() {
    let place = Place::new();
    let lab = LabServer::start(&place, "");
    for names in ["127.0.0.1", ""] {
        let mut command = lab.command(&place, "doctor");
        Running::start(command.env("HTTPS_PROXY", DEAD).env("NO_PROXY", names)).end().exits(0);
    }
    lab.ends_clean();
    let mut command = place.command(&format!("run --lab -p vsphere --results results -s {COLD}"));
    Running::start(command.env("HTTPS_PROXY", DEAD).env("HTTP_PROXY", DEAD)).end().exits(0);
}

#[test]
fn a_host_that_only_the_proxy_resolves_is_logged_in_to_through_it() {
    let place = Place::new();
    let lab = LabServer::start(&place, "");
    let (proxy, asked) = connect_proxy();
    let url = lab.url.replace("127.0.0.1", "api.only-the-proxy-knows.example");
    let mut command = place.command("doctor --set insecure_verify_skip=true");
    command.env("HTTPS_PROXY", format!("http://me:canary@{proxy}")).env("CLUSTER_HOST", format!("{url}\n"));
    command.env("CLUSTER_TOKEN", format!("{}\n", lab.token()));
    Running::start(&mut command).end().exits(0);
    let asked = asked.lock().unwrap();
    assert!(asked.iter().any(|head| head.starts_with("CONNECT api.only-the-proxy-knows.example:")), "{asked:?}");
    // `me:canary`
    assert!(
        asked.iter().all(|head| head.to_lowercase().contains("proxy-authorization: basic bwu6y2fuyxj5")),
        "{asked:?}"
    );
}

#[test]
fn a_credential_plugins_token_reads_the_inventory_too() {
    let place = Place::new();
    let lab = LabServer::start(&place, "");
    let credential = format!(
        r#"{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{}"}}}}"#,
        lab.token()
    );
    let script = place.write("kube/print-exec-credential.sh", &format!("#!/bin/sh\necho '{credential}'\n"));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let own = std::fs::read_to_string(&lab.kubeconfig).unwrap();
    let plugin = "exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: ./print-exec-credential.sh\n      \
                  interactiveMode: IfAvailable\n      provideClusterInfo: false";
    let with_plugin = own.replace(&format!("token: {}", lab.token()), plugin);
    assert_ne!(own, with_plugin);
    let kubeconfig = place.write("kube/config", &with_plugin);
    let mut command = lab.command(&place, "doctor");
    Running::start(command.env("KUBECONFIG", &kubeconfig).env("PATH", "/usr/bin:/bin"))
        .end()
        .exits(0)
        .says("inventory");
    lab.ends_clean();
}

#[test]
fn a_failing_run_at_the_most_verbose_level_tells_no_secret() {
    let place = Place::new();
    let lab = LabServer::start(&place, "");
    let providers = std::fs::read_to_string(&lab.providers).unwrap().replace("lab-vsphere", "canary-password");
    let providers = place.write("wrong.json", &providers);
    let (proxy, _) = connect_proxy();
    let args = format!("--providers-json {} run -p vsphere --results results -s {COLD}", providers.display());
    let mut command =
        place.command(&format!("{args} --set metrics_push=http://me:canary-push@127.0.0.1:9/ {}", crate::common::RUN));
    command.env("MTV_LOG", "trace").env("KUBECONFIG", &lab.kubeconfig);
    command.env("HTTPS_PROXY", format!("http://me:canary-proxy@{proxy}"));
    let ended = Running::start(&mut command).end().exits(3);
    for (name, text) in [("stdout", &ended.out), ("stderr", &ended.err)] {
        for secret in ["canary", "bWU6", &lab.token()] {
            let at = text.find(secret).map(|at| &text[at.saturating_sub(200)..(at + 100).min(text.len())]);
            assert!(at.is_none(), "{name} tells {secret}: {at:?}");
        }
    }
    place.results().are_whole_and_tell_no_secret();
    for name in ["run.json", "events.jsonl", "junit.xml", "report.html", "traces.jsonl", "ledger.jsonl"] {
        assert!(!place.results().text(name).contains("canary"), "{name}");
    }
}
