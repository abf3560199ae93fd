//! Tests of the simulated guests, by a real SSH client.

use std::sync::Arc;

use russh::ChannelMsg;
use russh::client;
use russh::keys::{Algorithm, PublicKeyOrCertificate};

use super::*;
use crate::clock::Clock;
use crate::ports::{GuestNic, GuestProfile};
use crate::weather::Sky;

struct One(GuestProfile);

impl GuestDirectory for One {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        self.0.nics.iter().any(|nic| nic.mac == mac).then(|| self.0.clone())
    }
}

fn nic(name: &str, mac: &str, is_static: bool) -> GuestNic {
    GuestNic {
        name: name.to_owned(),
        mac: mac.to_owned(),
        addresses: vec![([192, 168, 10, 21].into(), 24)],
        is_static,
        gateway: Some([192, 168, 10, 1].into()),
        dns: vec![[192, 168, 10, 2].into(), [192, 168, 10, 3].into()],
    }
}

fn windows(is_static: bool) -> Arc<One> {
    Arc::new(One(GuestProfile {
        files: Default::default(),
        fails: None,
        luks: None,
        shared: None,
        windows: true,
        hostname: "WIN-2019".to_owned(),
        pretty_name: "Microsoft Windows Server 2019".to_owned(),
        users: vec![("Administrator".to_owned(), "lab-windows".to_owned())],
        nics: vec![nic("Ethernet0", "00:50:56:aa:bb:01", is_static)],
    }))
}

fn linux() -> Arc<One> {
    Arc::new(One(GuestProfile {
        files: Default::default(),
        fails: None,
        luks: None,
        shared: None,
        windows: false,
        hostname: "rhel8".to_owned(),
        pretty_name: "Red Hat Enterprise Linux 8.10".to_owned(),
        users: vec![("root".to_owned(), "lab-linux".to_owned())],
        nics: vec![nic("eth0", "00:50:56:aa:bb:02", true), nic("eth1", "00:50:56:aa:bb:03", false)],
    }))
}

fn defects(names: &[&str]) -> Defects {
    Defects::parse(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap()
}

struct Client;

impl client::Handler for Client {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

async fn login(guests: &Guests, macs: &[&str], user: &str, password: &str) -> Option<client::Handle<Client>> {
    let macs: Vec<String> = macs.iter().map(|mac| (*mac).to_owned()).collect();
    let stream = guests.connect(&macs, Vec::new(), &Access::default()).unwrap();
    let mut handle = client::connect_stream(Arc::new(client::Config::default()), stream, Client).await.unwrap();
    handle.authenticate_password(user, password).await.unwrap().success().then_some(handle)
}

async fn exec(handle: &client::Handle<Client>, command: &str) -> (String, u32) {
    let mut channel = handle.channel_open_session().await.unwrap();
    channel.exec(true, command).await.unwrap();
    let (mut out, mut code) = (Vec::new(), 999);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => code = exit_status,
            _ => {}
        }
    }
    (String::from_utf8(out).unwrap(), code)
}

#[tokio::test]
async fn a_linux_guest_answers_over_ssh_with_its_interfaces() {
    let guests = Guests::new(linux(), Defects::default(), Sky::fair(), Clock::new(1.0));
    let ssh = login(&guests, &["00:50:56:aa:bb:02", "00:50:56:AA:BB:03"], "root", "lab-linux").await.unwrap();
    assert_eq!(exec(&ssh, "echo hello; hostname").await, ("hello\nrhel8\n".to_owned(), 0));
    let (out, code) = exec(&ssh, "ip -j addr show").await;
    assert_eq!(code, 0);
    let links: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(links[1]["ifname"], "eth0");
    assert_eq!(links[1]["addr_info"][0]["local"], "192.168.10.21");
    assert!(links[1]["addr_info"][0].get("dynamic").is_none());
    assert_eq!(links[2]["address"], "00:50:56:aa:bb:03");
    assert_eq!(links[2]["addr_info"][0]["dynamic"], true);
    let (out, _) = exec(&ssh, "ip -j route show default").await;
    let routes: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(routes[0]["gateway"], "192.168.10.1");
    assert_eq!(routes[0]["dst"], "default");
    assert!(exec(&ssh, "cat /etc/resolv.conf").await.0.contains("nameserver 192.168.10.3\n"));
    assert_eq!(exec(&ssh, "frobnicate").await.1, 127);
    let (out, _) = exec(&ssh, "nmcli -t -f GENERAL.DEVICE,IP4.METHOD device show").await;
    assert!(out.starts_with("GENERAL.DEVICE:eth0\nIP4.METHOD:manual\n"), "{out}");
}

#[tokio::test]
async fn a_wrong_password_and_a_refusing_guest_turn_the_login_away() {
    let guests = Guests::new(linux(), Defects::default(), Sky::fair(), Clock::new(1.0));
    assert!(login(&guests, &["00:50:56:aa:bb:02"], "root", "wrong").await.is_none());
    let guests = Guests::new(linux(), defects(&["login-refused"]), Sky::fair(), Clock::new(1.0));
    assert!(login(&guests, &["00:50:56:aa:bb:02"], "root", "lab-linux").await.is_none());
}

#[tokio::test]
async fn an_unknown_mac_is_a_generic_linux() {
    let guests = Guests::new(windows(true), Defects::default(), Sky::fair(), Clock::new(1.0));
    let ssh = login(&guests, &["02:00:00:00:00:09"], "root", "lab-linux").await.unwrap();
    assert!(exec(&ssh, "uname -a").await.0.starts_with("Linux localhost.localdomain "));
    assert!(exec(&ssh, "cat /etc/os-release").await.0.contains("ID=\"rhel\""));
}

#[tokio::test]
async fn windows_prints_ipconfig_as_windows_does() {
    let guests = Guests::new(windows(true), Defects::default(), Sky::fair(), Clock::new(1.0));
    let ssh = login(&guests, &["00:50:56:aa:bb:01"], "administrator", "lab-windows").await.unwrap();
    let (out, code) = exec(&ssh, "ipconfig /all").await;
    assert_eq!(code, 0);
    for line in [
        "   Host Name . . . . . . . . . . . . : WIN-2019\r\n",
        "   Primary Dns Suffix  . . . . . . . : \r\n",
        "   IP Routing Enabled. . . . . . . . : No\r\n",
        "\r\nEthernet adapter Ethernet0:\r\n\r\n",
        "   Connection-specific DNS Suffix  . : \r\n",
        "   Physical Address. . . . . . . . . : 00-50-56-AA-BB-01\r\n",
        "   DHCP Enabled. . . . . . . . . . . : No\r\n",
        "   IPv4 Address. . . . . . . . . . . : 192.168.10.21(Preferred) \r\n",
        "   Subnet Mask . . . . . . . . . . . : 255.255.255.0\r\n",
        "   Default Gateway . . . . . . . . . : 192.168.10.1\r\n",
        "   DNS Servers . . . . . . . . . . . : 192.168.10.2\r\n                                       192.168.10.3\r\n",
    ] {
        assert!(out.contains(line), "{line:?} is not in\n{out}");
    }
    assert_eq!(exec(&ssh, "cmd /c hostname").await.0, "WIN-2019\r\n");
}

#[test]
fn a_lost_static_address_becomes_a_lease_and_a_new_mac_loses_nothing() {
    let macs = ["00:50:56:aa:bb:01".to_owned()];
    let lost = view::current(windows(true).as_ref(), &defects(&["lost-static-ip"]), &macs);
    let gateways = |defect| {
        view::current(linux().as_ref(), &defects(&[defect]), &["00:50:56:aa:bb:02".to_owned()]).nics[0].gateway
    };
    assert_eq!(gateways("lost-gateway"), None);
    assert_eq!(gateways("gained-gateway"), Some("192.168.10.1".parse().unwrap()), "what it had stays");
    assert!(!lost.nics[0].is_static);
    assert!(lost.nics[0].addresses[0].0.to_string().starts_with("10.131."));
    let renamed = ["00:50:56:aa:bb:02".to_owned(), "02:00:00:00:00:01".to_owned()];
    let guest = view::current(linux().as_ref(), &Defects::default(), &renamed);
    assert_eq!(guest.nics[1].name, "eth1");
    assert_eq!(guest.nics[1].mac, "02:00:00:00:00:01");
}

#[tokio::test]
async fn a_guest_lets_in_the_keys_that_were_put_into_it() {
    let guests = Guests::new(linux(), Defects::default(), Sky::fair(), Clock::new(1.0));
    let key = Arc::new(PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap());
    let line = key.public_key().to_openssh().unwrap();
    let by_key = async |user: &str, access: &Access| {
        let stream = guests.connect(&["00:50:56:aa:bb:02".to_owned()], Vec::new(), access).unwrap();
        let mut handle = client::connect_stream(Arc::new(client::Config::default()), stream, Client).await.unwrap();
        let key = russh::keys::PrivateKeyWithHashAlg::new(key.clone(), None);
        handle.authenticate_publickey(user, key).await.unwrap().success()
    };
    let mut access = Access::default();
    assert!(!by_key("root", &access).await, "nobody put it there");
    access.add_keys(&format!("{line}\n"));
    assert!(by_key("root", &access).await);
    assert!(!by_key("erp", &access).await, "there is no such user");
    access.users.push(("erp".to_owned(), None));
    assert!(by_key("erp", &access).await);
    // Somebody who is in writes it down: from then on it needs no help.
    let inside = login(&guests, &["00:50:56:aa:bb:02"], "root", "lab-linux").await.unwrap();
    let (_, code) = exec(&inside, &format!("mkdir -p .ssh; echo {line} > .ssh/authorized_keys")).await;
    assert_eq!(code, 0);
    assert!(by_key("root", &Access::default()).await);
}

#[test]
fn files_of_a_guest_are_there_in_the_next_lab() {
    let guests = |directory: Arc<One>| Guests::new(directory, defects(&[]), Sky::fair(), Clock::new(600.0));
    let macs = vec!["00:50:56:aa:bb:02".to_owned()];
    let before = guests(linux());
    assert_eq!(before.kept(), json!([]));
    let disk = before.known(&macs).1;
    assert!(disk.write("/root/note", "kept".to_owned()));
    disk.remove("/etc/motd");
    let next = guests(linux());
    next.restore(&before.kept()).unwrap();
    assert_eq!(next.known(&macs).1.on(&linux().0).files["/root/note"], "kept");
    assert_eq!(next.kept(), before.kept());
    assert!(next.restore(&json!({"a": 1})).is_err());
}
