//! The lab's MTV as a client of vSphere: what its collector reads and its migrations ask for.
//!
//! Ordinary SOAP through `api::vim`, so that it works as well against vcsim or a real vCenter.
//! Knows nothing of the lab's own platforms.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;

use super::super::transport::{Protocol, Transports, told};
use super::view;
use crate::api::vim::device::{Hardware, Network};
use crate::api::vim::op::{self, ServiceContent};
use crate::api::vim::property::{self, FilterSpec, PropertySpec, Select, UpdateKind, UpdateSet};
use crate::api::vim::vm::{TaskInfo, TaskState, guest_nics, guest_routes, snapshots};
use crate::api::vim::{self, Element, MoRef, ObjectContent, WireError, decode_name, envelope};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDatastore, InvDisk, InvHost, InvNetwork, InvNic, InvVm, Inventory};
use crate::inventory::own::{GuestNetwork, OwnDisk, OwnVm, VsphereDisk, VsphereNic, VsphereVm};

/// One request, a long poll's own time aside.
const REQUEST: Duration = Duration::from_secs(30);
/// One long poll in seconds.
const POLL_SECONDS: u64 = 20;
/// What MTV tells of a wrong login; it looks for these very words.
const WRONG_LOGIN: &str = "Cannot complete login due to an incorrect user name or password.";

/// Logs in to vSphere.
pub(super) async fn connect(login: &Login, transports: &Transports) -> Result<Arc<dyn PlatformClient>, ConnectError> {
    let http = transports.of(login, Protocol::Soap)?;
    Ok(Arc::new(VsphereClient::login(login, http).await?))
}

/// A private collector with a filter on everything that the inventory shows, and what it has told.
struct Watch {
    collector: MoRef,
    version: String,
    known: Known,
}

struct VsphereClient {
    http: reqwest::Client,
    url: String,
    cookie: String,
    content: ServiceContent,
    /// Made when it is first needed: an execution looks at its own VM alone. Held during a long poll:
    /// a collector answers one at a time.
    watch: Mutex<Option<Watch>>,
}

async fn post(
    http: &reqwest::Client,
    url: &str,
    cookie: &str,
    body: String,
    extra: Duration,
) -> Result<(Vec<Element>, Option<String>), WireError> {
    let lost = |e: reqwest::Error| WireError::Transport(told(&reqwest::Method::POST, &e));
    let mut request = http
        .post(url)
        .header("SOAPAction", vim::soap_action(None))
        .header("Content-Type", vim::CONTENT_TYPE)
        .timeout(REQUEST + extra)
        .body(body);
    if !cookie.is_empty() {
        request = request.header("Cookie", cookie);
    }
    let answer = request.send().await.map_err(lost)?;
    let status = answer.status().as_u16();
    let cookie = answer.headers().get_all("set-cookie").iter().find_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?.trim();
        pair.starts_with("vmware_soap_session=").then(|| pair.to_owned())
    });
    let bytes = answer.bytes().await.map_err(lost)?;
    Ok((vim::returned(status, &bytes)?, cookie))
}

/// As MTV tells it: what is wrong with the transport stands for itself.
fn plainly(error: WireError) -> ConnectError {
    ConnectError::Failed(match error {
        WireError::Transport(told) => told,
        other => other.to_string(),
    })
}

impl VsphereClient {
    async fn login(login: &Login, http: reqwest::Client) -> Result<Self, ConnectError> {
        let failed = |e: &dyn std::fmt::Display| ConnectError::Failed(e.to_string());
        let (values, _) =
            post(&http, &login.url, "", op::retrieve_service_content(), Duration::ZERO).await.map_err(plainly)?;
        let content = ServiceContent::parse(&values).ok_or_else(|| failed(&"the server is no vSphere server"))?;
        let manager = content.session_manager.clone().ok_or_else(|| failed(&"no session manager"))?;
        let body = op::login(&manager, login.secret("user"), login.secret("password"));
        let (_, cookie) = post(&http, &login.url, "", body, Duration::ZERO).await.map_err(|e| match e {
            WireError::Fault(fault) if fault.is("InvalidLogin") => ConnectError::Auth(WRONG_LOGIN.to_owned()),
            other => plainly(other),
        })?;
        let cookie = cookie.ok_or_else(|| failed(&"the login brought no session cookie"))?;
        Ok(Self { http, url: login.url.clone(), cookie, content, watch: Mutex::new(None) })
    }

    /// A collector over a view of the whole inventory.
    async fn begin(&self) -> Result<Watch, String> {
        let manager = self.content.view_manager.clone().ok_or("the server has no view manager")?;
        let kinds: Vec<&str> = PATHS.iter().map(|(kind, _)| *kind).filter(|kind| *kind != PORT_GROUP).collect();
        let body = op::create_container_view(&manager, &self.content.root_folder, &kinds);
        let view = self.reference("CreateContainerView", body).await?;
        let body = op::create_property_collector(&self.content.property_collector);
        let collector = self.reference("CreatePropertyCollector", body).await?;
        let spec = FilterSpec {
            props: PATHS.iter().map(|(kind, paths)| PropertySpec { kind, paths }).collect(),
            select: Select::View(&view),
        };
        self.call(op::create_filter(&collector, &spec)).await?;
        let folders: Vec<_> = PATHS.iter().filter(|(kind, _)| *kind == "Folder").collect();
        let root = FilterSpec {
            props: folders.iter().map(|(kind, paths)| PropertySpec { kind, paths }).collect(),
            select: Select::Objects(std::slice::from_ref(&self.content.root_folder)),
        };
        self.call(op::create_filter(&collector, &root)).await?;
        Ok(Watch { collector, version: String::new(), known: Known::default() })
    }

    /// Takes up what has changed; waits `seconds` for something to change.
    async fn follow<T>(&self, seconds: u64, read: impl FnOnce(&Known) -> T) -> Result<T, String> {
        let mut held = self.watch.lock().await;
        let mut watch = match held.take() {
            Some(watch) => watch,
            None => self.begin().await?,
        };
        // A watch whose question failed is not put back: the next one begins anew.
        let mut patience = seconds;
        while let Some(set) = self.updates(&watch.collector, &watch.version, patience).await? {
            watch.version.clone_from(&set.version);
            watch.known.apply(&set);
            if !set.truncated {
                break;
            }
            patience = 0;
        }
        let read = read(&watch.known);
        *held = Some(watch);
        Ok(read)
    }

    fn call<'a>(&'a self, body: String) -> BoxFuture<'a, Result<Vec<Element>, String>> {
        async move {
            let answer = post(&self.http, &self.url, &self.cookie, body, Duration::ZERO).await;
            answer.map(|(values, _)| values).map_err(|e| e.to_string())
        }
        .boxed()
    }

    async fn reference(&self, method: &str, body: String) -> Result<MoRef, String> {
        envelope::reference(method, self.call(body).await?).map_err(|e| e.to_string())
    }

    async fn updates(&self, collector: &MoRef, version: &str, seconds: u64) -> Result<Option<UpdateSet>, String> {
        let body = op::wait_for_updates(collector, version, seconds);
        let answer = post(&self.http, &self.url, &self.cookie, body, Duration::from_secs(seconds)).await;
        answer.map(|(values, _)| UpdateSet::parse(&values)).map_err(|e| e.to_string())
    }

    /// Starts a task and waits for its end on a collector of its own.
    async fn task(&self, method: &str, body: String) -> Result<Option<Element>, String> {
        let task = self.reference(method, body).await?;
        let body = op::create_property_collector(&self.content.property_collector);
        let collector = self.reference("CreatePropertyCollector", body).await?;
        let result = self.task_end(&task, &collector).await;
        let _ = self.call(op::destroy_property_collector(&collector)).await;
        result
    }

    async fn task_end(&self, task: &MoRef, collector: &MoRef) -> Result<Option<Element>, String> {
        let spec = FilterSpec {
            props: vec![PropertySpec { kind: "Task", paths: &["info"] }],
            select: Select::Objects(std::slice::from_ref(task)),
        };
        self.call(op::create_filter(collector, &spec)).await?;
        let mut version = String::new();
        loop {
            let Some(set) = self.updates(collector, &version, POLL_SECONDS).await? else { continue };
            for (path, value) in set.updates.iter().flat_map(|u| &u.changes) {
                let (true, Some(info)) = (path == "info", value) else { continue };
                match TaskInfo::parse(info).state {
                    TaskState::Success(result) => return Ok(result),
                    TaskState::Error(fault) => return Err(fault.to_string()),
                    TaskState::Queued | TaskState::Running { .. } => {}
                }
            }
            version = set.version;
        }
    }
}

/// A kind of networks, which a view of these holds.
const PORT_GROUP: &str = "DistributedVirtualPortgroup";
/// What is asked of each kind. The root folder is in no view of its own content, and has a filter of its own.
const PATHS: &[(&str, &[&str])] = &[
    ("VirtualMachine", VM_PATHS),
    ("Network", &["name", "parent"]),
    (PORT_GROUP, &["key", "config.distributedVirtualSwitch", "config.defaultPortConfig"]),
    ("VmwareDistributedVirtualSwitch", &["name", "parent", "config.host"]),
    (
        "Datastore",
        &[
            "name",
            "parent",
            "summary.type",
            "summary.capacity",
            "summary.freeSpace",
            "summary.maintenanceMode",
            "info",
            "capability.storageIORMSupported",
            "iormConfiguration",
        ],
    ),
    ("HostSystem", HOST_PATHS),
    (
        "ClusterComputeResource",
        &[
            "name",
            "parent",
            "host",
            "network",
            "datastore",
            "configuration.dasConfig.enabled",
            "configuration.drsConfig.enabled",
            "configuration.drsConfig.defaultVmBehavior",
        ],
    ),
    ("Datacenter", &["name", "parent", "vmFolder", "hostFolder", "networkFolder", "datastoreFolder"]),
    ("Folder", &["name", "parent", "childEntity"]),
];

const HOST_PATHS: &[&str] = &[
    "name",
    "parent",
    "overallStatus",
    "config.product.name",
    "config.product.version",
    "config.dateTimeInfo.timeZone.name",
    "config.network.vnic",
    "summary.config.sslThumbprint",
    "summary.managementServerIp",
    "config.storageDevice.scsiLun",
    "summary.runtime.inMaintenanceMode",
    "summary.hardware.numCpuPkgs",
    "summary.hardware.numCpuCores",
    "summary.hardware.memorySize",
    "capability.vmotionSupported",
    "capability.storageVMotionSupported",
    "datastore",
    "network",
];

const VM_PATHS: &[&str] = &[
    "name",
    "parent",
    "config.uuid",
    "config.instanceUuid",
    "config.template",
    "config.firmware",
    "config.bootOptions",
    "config.guestId",
    "config.changeTrackingEnabled",
    "config.extraConfig",
    "config.hardware.numCPU",
    "config.hardware.numCoresPerSocket",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "summary.config.guestFullName",
    "guest.net",
    "guest.ipStack",
    "guest.ipAddress",
    "guest.toolsStatus",
    "guest.toolsRunningStatus",
    "guest.toolsVersionStatus2",
    "guest.guestFullName",
    "guest.hostName",
    "guest.disk",
    "summary.guest.guestId",
    "summary.storage.committed",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
];

fn name_of(object: &ObjectContent) -> String {
    decode_name(object.text("name").unwrap_or_default())
}

fn text(object: &ObjectContent, path: &str) -> String {
    object.text(path).unwrap_or_default().to_owned()
}

/// What the server has told, and what MTV makes of it. Only what changed is made again.
#[derive(Default)]
struct Known {
    objects: BTreeMap<MoRef, ObjectContent>,
    networks: Vec<Network>,
    vms: BTreeMap<MoRef, Arc<InvVm>>,
    shown: BTreeMap<MoRef, Arc<Value>>,
}

/// What a guest tells of its addresses.
const GUEST_TOLD: [&str; 2] = ["guest.net", "guest.ipStack"];

fn is_network(object: &MoRef) -> bool {
    matches!(object.kind.as_str(), "Network" | "DistributedVirtualPortgroup" | "OpaqueNetwork")
}

impl Known {
    fn apply(&mut self, set: &UpdateSet) {
        let mut changed = BTreeSet::new();
        let (mut networks, mut places) = (false, false);
        for update in &set.updates {
            match update.kind {
                UpdateKind::Leave => {
                    self.objects.remove(&update.obj);
                }
                UpdateKind::Enter | UpdateKind::Modify => {
                    let object = self.objects.entry(update.obj.clone()).or_insert_with(|| ObjectContent {
                        obj: update.obj.clone(),
                        props: BTreeMap::new(),
                        missing: Vec::new(),
                    });
                    // MTV takes what is assigned and overlooks what goes: an off VM keeps what its guest told last
                    // (`VmAdapter.Apply`, `pkg/controller/provider/container/vsphere/model.go`).
                    let told = GUEST_TOLD.map(|path| object.props.get(path).cloned());
                    update.apply(&mut object.props);
                    for (path, before) in GUEST_TOLD.into_iter().zip(told) {
                        if let Some(before) = before {
                            object.props.entry(path.to_owned()).or_insert(before);
                        }
                    }
                }
            }
            networks |= is_network(&update.obj);
            places |= update.kind == UpdateKind::Enter && matches!(update.obj.kind.as_str(), "Folder" | "Datacenter");
            changed.insert(update.obj.clone());
        }
        if networks {
            // VMs show the names and keys of their networks.
            let all = self.objects.values().filter(|object| is_network(&object.obj));
            self.networks = all.map(Network::from_object).collect();
        }
        if networks || places {
            // And the way to themselves.
            changed.extend(self.objects.keys().cloned());
        }
        for object in changed.into_iter().filter(|object| object.kind == "VirtualMachine") {
            self.renew(&object);
        }
    }

    /// Makes a VM's records again. A VM without configuration is left out, as MTV does not know it yet
    /// either; templates are hidden from the list, as the real service hides them.
    fn renew(&mut self, object: &MoRef) {
        let revision = self.vms.get(object).and_then(|known| known.vsphere()).map_or(1, |known| known.revision + 1);
        let ready = |o: &&ObjectContent| o.props.contains_key("config.hardware.numCPU");
        let Some(content) = self.objects.get(object).filter(ready) else {
            self.vms.remove(object);
            self.shown.remove(object);
            return;
        };
        let vm = Arc::new(inv_vm(content, &self.networks, revision));
        if vm.vsphere().is_some_and(|own| own.is_template) {
            self.shown.remove(object);
        } else {
            self.shown.insert(object.clone(), Arc::new(view::vm(&vm, content, &self.objects, &self.networks)));
        }
        self.vms.insert(object.clone(), vm);
    }

    fn inventory(&self, about: &ServiceContent) -> Inventory {
        let of = |kind: &'static str| self.objects.values().filter(move |o| o.obj.kind == kind);
        let mut content = Inventory {
            vms: self.vms.values().cloned().collect(),
            networks: self
                .networks
                .iter()
                .map(|n| InvNetwork {
                    id: n.moref.id.clone(),
                    name: n.name.clone(),
                    kind: n.moref.kind.clone(),
                    key: n.key.clone(),
                })
                .collect(),
            datastores: of("Datastore")
                .map(|o| InvDatastore {
                    id: o.obj.id.clone(),
                    name: name_of(o),
                    capacity: o.parse_prop("summary.capacity").unwrap_or_default(),
                    free: o.parse_prop("summary.freeSpace").unwrap_or_default(),
                    kind: text(o, "summary.type"),
                })
                .collect(),
            hosts: of("HostSystem")
                .map(|o| InvHost {
                    id: o.obj.id.clone(),
                    name: name_of(o),
                    cluster_id: o.moref("parent").map(|p| p.id).unwrap_or_default(),
                    in_maintenance: o.flag("summary.runtime.inMaintenanceMode").unwrap_or(false),
                })
                .collect(),
            instance_uuid: about.instance_uuid.clone().unwrap_or_default(),
            product: about.license_product_name.clone(),
            version: about.api_version.clone(),
            ..Inventory::default()
        };
        content.collections = BTreeMap::from([("vms".to_owned(), self.shown.values().cloned().collect())]);
        let show: [(&str, &[&str], view::View); 6] = [
            ("networks", &["Network", PORT_GROUP, "OpaqueNetwork", "VmwareDistributedVirtualSwitch"], view::network),
            ("datastores", &["Datastore"], view::datastore),
            ("hosts", &["HostSystem"], view::host),
            ("clusters", &["ClusterComputeResource"], view::cluster),
            ("datacenters", &["Datacenter"], view::datacenter),
            ("folders", &["Folder"], view::folder),
        ];
        for (collection, kinds, view) in show {
            let of_it = self.objects.values().filter(|o| kinds.contains(&o.obj.kind.as_str()));
            let items: Vec<Value> = of_it.map(|o| view(&self.objects, o)).collect();
            content.show(collection, items);
        }
        content
    }
}

fn inv_vm(vm: &ObjectContent, networks: &[Network], revision: u64) -> InvVm {
    let hardware = Hardware::of(&vm.props);
    let extra: BTreeMap<String, String> = vm
        .props
        .get("config.extraConfig")
        .map(|e| e.children.as_slice())
        .unwrap_or_default()
        .iter()
        .filter_map(|o| Some((o.text_at("key")?.to_lowercase(), o.text_at("value")?.to_lowercase())))
        .collect();
    let disks = hardware
        .disks
        .iter()
        .map(|d| InvDisk {
            source: d.file.clone(),
            storage_id: d.datastore.as_ref().map(|d| d.id.clone()).unwrap_or_default(),
            capacity_bytes: d.capacity_bytes,
            own: OwnDisk::Vsphere(VsphereDisk {
                shared: d.shared,
                key: d.key,
                unit_number: d.unit,
                controller_key: d.controller_key,
                bus: hardware.controller(d.controller_key).map(|c| c.bus.name()).unwrap_or_default().to_owned(),
                mode: d.mode.clone(),
                raw: d.is_raw(),
            }),
        })
        .collect();
    let nics = hardware
        .nics
        .iter()
        .map(|n| InvNic {
            mac: n.mac.to_lowercase(),
            network_id: n.backing.find(networks).map(|n| n.moref.id.clone()).unwrap_or_default(),
            vsphere: Some(VsphereNic { device_key: n.key, connected: n.start_connected }),
        })
        .collect();
    let (routes, stack_dns) = guest_routes(&vm.props);
    let mut guest_networks = Vec::new();
    for (index, nic) in guest_nics(&vm.props).iter().enumerate().filter(|(_, n)| n.has_ip_config) {
        let place = i64::try_from(index).ok();
        let gateway = routes.iter().find(|r| r.device == place).map(|r| r.gateway.to_string());
        let dns = if nic.dns.is_empty() { &stack_dns } else { &nic.dns };
        for ip in &nic.ips {
            guest_networks.push(GuestNetwork {
                device: index.to_string(),
                mac: nic.mac.to_lowercase(),
                ip: ip.ip.to_string(),
                prefix: ip.prefix.unwrap_or_default(),
                origin: ip.origin.clone().unwrap_or_default(),
                gateway: gateway.clone(),
                dns: dns.iter().map(ToString::to_string).collect(),
            });
        }
    }
    InvVm {
        id: vm.obj.id.clone(),
        name: name_of(vm),
        power_on: vm.text("runtime.powerState") == Some("poweredOn"),
        firmware_efi: vm.text("config.firmware") == Some("efi"),
        secure_boot: vm
            .props
            .get("config.bootOptions")
            .and_then(|b| b.flag_at("efiSecureBootEnabled"))
            .unwrap_or(false),
        tpm: hardware.tpm,
        cpu_count: vm.parse_prop("config.hardware.numCPU").unwrap_or_default(),
        cores_per_socket: vm.parse_prop("config.hardware.numCoresPerSocket").unwrap_or(1),
        memory_mb: vm.parse_prop("config.hardware.memoryMB").unwrap_or_default(),
        guest_id: text(vm, "config.guestId"),
        guest_name: text(vm, "summary.config.guestFullName"),
        snapshot_ids: snapshots(&vm.props).into_iter().map(|s| s.moref.id).collect(),
        nics,
        disks,
        own: OwnVm::Vsphere(Box::new(VsphereVm {
            uuid: text(vm, "config.uuid"),
            is_template: vm.flag("config.template").unwrap_or(false),
            host_id: vm.moref("runtime.host").map(|h| h.id).unwrap_or_default(),
            folder_id: vm.moref("parent").map(|f| f.id).unwrap_or_default(),
            tools_running: vm.text("guest.toolsRunningStatus") == Some("guestToolsRunning"),
            tools_status: text(vm, "guest.toolsStatus"),
            changed_block_tracking: vm.flag("config.changeTrackingEnabled").unwrap_or(false)
                || extra.get("ctkenabled").is_some_and(|v| v == "true"),
            guest_networks,
            guest_ip: text(vm, "guest.ipAddress"),
            revision,
        })),
    }
}

fn machine(vm_id: &str) -> MoRef {
    MoRef::new("VirtualMachine", vm_id)
}

#[async_trait]
impl PlatformClient for VsphereClient {
    async fn collect(&self) -> Result<Inventory, String> {
        self.follow(0, |known| known.inventory(&self.content)).await
    }

    async fn changed(&self) -> Result<bool, String> {
        // No answer within the poll is "after a while".
        self.follow(POLL_SECONDS, |_| true).await
    }

    fn pushes(&self) -> bool {
        true
    }

    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String> {
        if self.power_state(vm_id).await? == on {
            return Ok(());
        }
        let vm = machine(vm_id);
        if on {
            self.task("PowerOnVM_Task", op::power_on(&vm)).await?;
        } else {
            self.task("PowerOffVM_Task", op::power_off(&vm)).await?;
        }
        Ok(())
    }

    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        let vm = machine(vm_id);
        let spec = FilterSpec {
            props: vec![PropertySpec { kind: "VirtualMachine", paths: &["runtime.powerState"] }],
            select: Select::Objects(std::slice::from_ref(&vm)),
        };
        let body = op::retrieve_properties(&self.content.property_collector, &spec, None);
        let (objects, _) = property::page(&self.call(body).await?);
        let object = objects.first().ok_or_else(|| format!("there is no VM {vm_id}"))?;
        Ok(object.text("runtime.powerState") == Some("poweredOn"))
    }

    async fn create_snapshot(&self, vm_id: &str, name: &str) -> Result<String, String> {
        let body = op::create_snapshot(&machine(vm_id), name, "", false, true);
        let result = self.task("CreateSnapshot_Task", body).await?;
        let snapshot = result.as_ref().and_then(Element::moref);
        snapshot.map(|s| s.id).ok_or_else(|| "the snapshot's task has no result".to_owned())
    }

    async fn remove_snapshot(&self, _vm_id: &str, snapshot_id: &str) -> Result<(), String> {
        let snapshot = MoRef::new("VirtualMachineSnapshot", snapshot_id);
        self.task("RemoveSnapshot_Task", op::remove_snapshot(&snapshot, false)).await.map(|_| ())
    }

    async fn copied_to(&self, vm: &InvVm, snapshot_id: &str) -> Result<BTreeMap<String, String>, String> {
        let snapshot = MoRef::new("VirtualMachineSnapshot", snapshot_id);
        let spec = FilterSpec {
            props: vec![PropertySpec { kind: "VirtualMachineSnapshot", paths: &["config.hardware.device"] }],
            select: Select::Objects(std::slice::from_ref(&snapshot)),
        };
        let body = op::retrieve_properties(&self.content.property_collector, &spec, None);
        let (objects, _) = property::page(&self.call(body).await?);
        let devices = objects.first().and_then(|taken| taken.props.get("config.hardware.device"));
        let ids: BTreeMap<&str, &str> = (devices.into_iter().flat_map(|devices| &devices.children))
            .filter_map(|device| Some((device.text_at("key")?, device.child("backing")?.text_at("changeId")?)))
            .collect();
        let id = |disk: &InvDisk| ids.get(disk.vsphere()?.key.to_string().as_str()).map(|id| (*id).to_owned());
        Ok(vm.disks.iter().filter_map(|disk| Some((disk.source.clone(), id(disk)?))).collect())
    }

    async fn logout(&self) {
        if let Some(manager) = &self.content.session_manager {
            let _ = self.call(op::logout(manager)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &str, object: (&str, &str), changes: &str) -> String {
        let (type_, id) = object;
        format!("<objectSet><kind>{kind}</kind><obj type=\"{type_}\">{id}</obj>{changes}</objectSet>")
    }

    fn set(objects: &str) -> UpdateSet {
        let xml = format!(
            "<returnval><version>1</version><filterSet><filter type=\"PropertyFilter\">f</filter>{objects}</filterSet></returnval>"
        );
        UpdateSet::parse(&[Element::parse(xml.as_bytes()).unwrap()]).unwrap()
    }

    fn is(path: &str, value: &str) -> String {
        format!("<changeSet><name>{path}</name><op>assign</op><val>{value}</val></changeSet>")
    }

    #[test]
    fn only_what_changed_is_made_again() {
        let vm = |name: &str| is("name", name) + &is("config.hardware.numCPU", "2");
        let mut known = Known::default();
        known.apply(&set(&[
            told("enter", ("Network", "network-7"), &is("name", "VM Network")),
            told("enter", ("VirtualMachine", "vm-1"), &vm("a")),
            told("enter", ("VirtualMachine", "vm-2"), &vm("b")),
            told("enter", ("VirtualMachine", "vm-3"), &is("name", "not configured yet")),
        ]
        .concat()));
        let before = known.vms.clone();
        assert_eq!(before.len(), 2);
        known.apply(&set(&told("modify", ("VirtualMachine", "vm-2"), &is("runtime.powerState", "poweredOn"))));
        let (one, two) = (MoRef::new("VirtualMachine", "vm-1"), MoRef::new("VirtualMachine", "vm-2"));
        assert!(Arc::ptr_eq(&before[&one], &known.vms[&one]));
        let revision = |vm: &InvVm| vm.vsphere().map(|own| own.revision).unwrap();
        assert_eq!((known.vms[&two].power_on, revision(&known.vms[&two])), (true, revision(&before[&two]) + 1));
        assert_eq!(known.vms[&two].name, "b", "what was told before still holds");
        known.apply(&set(&told("leave", ("VirtualMachine", "vm-1"), "")));
        assert!(!known.vms.contains_key(&one) && !known.shown.contains_key(&one));
    }

    #[test]
    fn an_off_vm_keeps_what_its_guest_told_last() {
        let nic = "<GuestNicInfo><macAddress>00:50:56:00:00:01</macAddress></GuestNicInfo>";
        let mut known = Known::default();
        known.apply(&set(&told(
            "enter",
            ("VirtualMachine", "vm-1"),
            &(is("config.hardware.numCPU", "2") + &is("guest.net", nic) + &is("guest.hostName", "a")),
        )));
        let gone = |path: &str| format!("<changeSet><name>{path}</name><op>remove</op></changeSet>");
        known.apply(&set(&told("modify", ("VirtualMachine", "vm-1"), &(gone("guest.net") + &gone("guest.hostName")))));
        let props = &known.objects[&MoRef::new("VirtualMachine", "vm-1")].props;
        assert!(props.contains_key("guest.net") && !props.contains_key("guest.hostName"));
    }
}
