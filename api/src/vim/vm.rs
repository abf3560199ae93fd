//! A VM's guest and snapshots, read from its properties; task states.

use std::net::IpAddr;

use super::MoRef;
use super::envelope::Fault;
use super::property::Props;
use super::xml::Element;

/// An address that a guest reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestIp {
    pub ip: IpAddr,
    pub prefix: Option<u8>,
    /// `manual`, `dhcp`, `linklayer`, `random`, `other`.
    pub origin: Option<String>,
}

impl GuestIp {
    /// Neither link-local nor loopback nor a multicast address.
    pub fn is_global(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_loopback() && !ip.is_unspecified(),
            IpAddr::V6(ip) => {
                !ip.is_unicast_link_local() && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
            }
        }
    }
}

/// One entry of `guest.net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    pub mac: String,
    /// Key of the virtual card; −1 for an interface that exists in the guest only.
    pub device_key: i64,
    pub network: String,
    /// Everything reported, link-local included.
    pub ips: Vec<GuestIp>,
    pub dns: Vec<IpAddr>,
    /// Whether the entry has an `ipConfig`; MTV skips those without.
    pub has_ip_config: bool,
}

/// `guest.net` in its order.
pub fn guest_nics(props: &Props) -> Vec<GuestNic> {
    let entries = props.get("guest.net").map(|e| e.children.as_slice()).unwrap_or_default();
    entries
        .iter()
        .map(|nic| {
            let with_config: Vec<GuestIp> = nic
                .at("ipConfig")
                .into_iter()
                .flat_map(|c| c.all("ipAddress"))
                .filter_map(|a| {
                    Some(GuestIp {
                        ip: a.parse_at("ipAddress")?,
                        prefix: a.parse_at("prefixLength"),
                        origin: a.text_at("origin").filter(|o| !o.is_empty()).map(str::to_owned),
                    })
                })
                .collect();
            // Old tools send bare addresses only.
            let bare = || nic.all("ipAddress").filter_map(|a| a.text.trim().parse().ok());
            let ips = if with_config.is_empty() {
                bare().map(|ip| GuestIp { ip, prefix: None, origin: None }).collect()
            } else {
                with_config
            };
            GuestNic {
                mac: nic.text_at("macAddress").unwrap_or_default().to_owned(),
                device_key: nic.parse_at("deviceConfigId").unwrap_or(-1),
                network: nic.text_at("network").unwrap_or_default().to_owned(),
                ips,
                dns: nic.at("dnsConfig").map(dns_of).unwrap_or_default(),
                has_ip_config: nic.child("ipConfig").is_some(),
            }
        })
        .collect()
}

fn dns_of(config: &Element) -> Vec<IpAddr> {
    config.all("ipAddress").filter_map(|a| a.text.trim().parse().ok()).collect()
}

/// A default route of `guest.ipStack`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    pub gateway: IpAddr,
    /// The NIC by its place in `guest.net`, from 0 (Forklift: vSphere's model.go).
    pub device: Option<i64>,
}

/// Default routes in order, and the name servers of the first stack that has some.
pub fn guest_routes(props: &Props) -> (Vec<DefaultRoute>, Vec<IpAddr>) {
    let stacks = props.get("guest.ipStack").map(|e| e.children.as_slice()).unwrap_or_default();
    let routes = stacks
        .iter()
        .filter_map(|s| s.child("ipRouteConfig"))
        .flat_map(|c| c.all("ipRoute"))
        .filter(|r| matches!(r.text_at("network"), Some("0.0.0.0" | "::")) && r.parse_at("prefixLength") == Some(0u8))
        .filter_map(|r| {
            Some(DefaultRoute { gateway: r.parse_at("gateway/ipAddress")?, device: r.parse_at("gateway/device") })
        })
        .collect();
    let dns = stacks.iter().filter_map(|s| s.child("dnsConfig")).map(dns_of).find(|d| !d.is_empty());
    (routes, dns.unwrap_or_default())
}

/// One snapshot of a VM's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub moref: MoRef,
    pub name: String,
    pub created: Option<String>,
    pub state: Option<String>,
}

/// The whole tree under the property `snapshot`, parents before children.
pub fn snapshots(props: &Props) -> Vec<Snapshot> {
    fn walk(tree: &Element, out: &mut Vec<Snapshot>) {
        if let Some(moref) = tree.moref_at("snapshot") {
            out.push(Snapshot {
                moref,
                name: super::decode_name(tree.text_at("name").unwrap_or_default()),
                created: tree.text_at("createTime").map(str::to_owned),
                state: tree.text_at("state").map(str::to_owned),
            });
        }
        for child in tree.all("childSnapshotList") {
            walk(child, out);
        }
    }
    let mut out = Vec::new();
    for root in props.get("snapshot").into_iter().flat_map(|s| s.all("rootSnapshotList")) {
        walk(root, &mut out);
    }
    out
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    Queued,
    Running {
        percent: Option<u8>,
    },
    /// With its result, where it has one.
    Success(Option<Element>),
    Error(Fault),
}

impl TaskState {
    /// What tells how a task ends; its progress, which changes all the while, is not among them.
    pub const PATHS: &'static [&'static str] = &["info.state", "info.result", "info.error"];

    /// From [`TaskState::PATHS`]; `None`: nothing is told.
    pub fn of(props: &Props) -> Option<Self> {
        let state = props.get("info.state")?.text.as_str();
        Some(Self::parse(Some(state), props.get("info.result"), props.get("info.error"), None))
    }

    fn parse(state: Option<&str>, result: Option<&Element>, error: Option<&Element>, percent: Option<u8>) -> Self {
        match state {
            Some("success") => Self::Success(result.cloned()),
            Some("error") => Self::Error(error.map(Fault::localized).unwrap_or_else(|| Fault {
                kind: String::new(),
                text: String::new(),
                detail: Box::default(),
            })),
            Some("running") => Self::Running { percent },
            _ => Self::Queued,
        }
    }
}

/// The property `info` of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    /// `CloneVM_Task`; some servers say otherwise or nothing.
    pub name: String,
    /// `VirtualMachine.clone`
    pub description_id: String,
    pub entity: Option<MoRef>,
    pub entity_name: String,
    /// Who asked for it, where a person did.
    pub user: Option<String>,
    pub state: TaskState,
}

impl TaskInfo {
    pub fn parse(info: &Element) -> Self {
        let text = |path: &str| info.text_at(path).unwrap_or_default().to_owned();
        let (result, error) = (info.child("result"), info.child("error"));
        let state = TaskState::parse(info.text_at("state"), result, error, info.parse_at("progress"));
        Self {
            name: text("name"),
            description_id: text("descriptionId"),
            entity: info.moref_at("entity"),
            entity_name: super::decode_name(&text("entityName")),
            user: info.text_at("reason/userName").map(str::to_owned),
            state,
        }
    }
    pub fn is_over(&self) -> bool {
        matches!(self.state, TaskState::Success(_) | TaskState::Error(_))
    }
    pub fn is_clone(&self) -> bool {
        self.description_id.eq_ignore_ascii_case("VirtualMachine.clone") || self.name.starts_with("CloneV")
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Queued => f.write_str("queued"),
            Self::Running { percent: Some(percent) } => write!(f, "running, {percent} %"),
            Self::Running { percent: None } => f.write_str("running"),
            Self::Success(_) => f.write_str("done"),
            Self::Error(fault) => write!(f, "failed: {fault}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prop(path: &str, xml: &str) -> Props {
        Props::from([(path.to_owned(), Element::parse(xml.as_bytes()).unwrap())])
    }

    #[test]
    fn every_branch_of_the_snapshot_tree_is_listed() {
        let node = |id: &str, inside: &str| {
            format!(
                "<snapshot type=\"VirtualMachineSnapshot\">{id}</snapshot><name>{id}</name><createTime>2026-01-02T03:04:05Z</createTime><state>poweredOff</state>{inside}"
            )
        };
        let child = |id: &str| format!("<childSnapshotList>{}</childSnapshotList>", node(id, ""));
        let root = node("s1", &format!("{}{}", child("s2"), child("s3")));
        let xml = format!(
            "<val><rootSnapshotList>{root}</rootSnapshotList><rootSnapshotList>{}</rootSnapshotList></val>",
            node("s4", "")
        );
        let names: Vec<String> = snapshots(&prop("snapshot", &xml)).into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["s1", "s2", "s3", "s4"]);
    }

    #[test]
    fn link_local_addresses_are_told_from_global_ones() {
        let global = |ip: &str| GuestIp { ip: ip.parse().unwrap(), prefix: None, origin: None }.is_global();
        assert!(global("10.0.0.5") && global("2001:db8::5") && global("fd00::1"));
        assert!(!global("169.254.1.1") && !global("fe80::1") && !global("127.0.0.1"));
    }

    #[test]
    fn a_failed_task_keeps_its_fault() {
        let info = Element::parse(br#"<val xmlns:xsi="i"><key>t</key><name>CloneVM_Task</name><descriptionId>VirtualMachine.clone</descriptionId><entityName>src</entityName><state>error</state><error><fault xsi:type="DuplicateName"><name>n</name></fault><localizedMessage>The name exists.</localizedMessage></error><reason xsi:type="TaskReasonUser"><userName>u</userName></reason></val>"#).unwrap();
        let info = TaskInfo::parse(&info);
        assert!(info.is_clone() && info.is_over());
        assert_eq!(info.state.to_string(), "failed: The name exists. (DuplicateName)");
        assert_eq!(info.user.as_deref(), Some("u"));
    }
}
