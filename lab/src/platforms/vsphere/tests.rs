//! Raw requests as clients were seen to send them, over HTTPS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::super::clock::Clock;
use super::xml::{Node, envelope, method};
use super::{VsphereEndpoint, VsphereOptions, start};
use crate::pki::LabCa;
use crate::world::World;

mod tools;

const PASSWORD: &str = "lab <&> vsphere";

/// VMs of the shipped world.
fn shipped() -> usize {
    crate::api::world::World::shipped().unwrap().vsphere.vms.len()
}

struct Client {
    http: reqwest::Client,
    url: String,
    cookie: std::sync::Mutex<Option<String>>,
    world: Arc<World>,
    endpoint: VsphereEndpoint,
}

impl Client {
    async fn new(scale: f64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = LabCa::new().unwrap();
        let world = World::new(&crate::api::world::World::shipped().unwrap().vsphere);
        let options = VsphereOptions {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            username: "administrator@vsphere.local".to_owned(),
            password: PASSWORD.to_owned(),
            clock: Clock::new(scale),
            faults: Default::default(),
            levers: crate::levers::Levers::none(),
            agent: None,
        };
        let endpoint = start(world.clone(), options, &ca).await.unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.ca_pem().as_bytes()).unwrap()])
            .build()
            .unwrap();
        Self { http, url: endpoint.url(), cookie: std::sync::Mutex::new(None), world, endpoint }
    }

    /// Status and the first element of the body.
    async fn post(&self, body: &str) -> (u16, Node, String) {
        let mut request = self.http.post(&self.url).header("SOAPAction", "\"urn:vim25/9.9\"");
        if let Some(cookie) = self.cookie.lock().unwrap().clone() {
            request = request.header("Cookie", cookie);
        }
        let response = request.body(envelope(body)).send().await.unwrap();
        let status = response.status().as_u16();
        if let Some(cookie) = response.headers().get("set-cookie") {
            // pyVmomi sends everything back, attributes included.
            *self.cookie.lock().unwrap() = Some(cookie.to_str().unwrap().to_owned());
        }
        let text = response.text().await.unwrap();
        (status, method(&text).unwrap(), text)
    }

    async fn call(&self, name: &str, kind: &str, id: &str, parameters: &str) -> Result<Node, String> {
        let body = format!("<{name} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{parameters}</{name}>");
        let (status, node, text) = self.post(&body).await;
        if status == 200 {
            assert_eq!(node.name, format!("{name}Response"));
            return Ok(node);
        }
        assert_eq!((status, node.name.as_str()), (500, "Fault"), "{text}");
        let detail = &node.child("detail").unwrap().children[0];
        let kind = detail.xsi_type.clone().unwrap();
        assert_eq!(detail.name, format!("{kind}Fault"));
        Err(kind)
    }

    async fn login(&self) {
        let login = "<userName>administrator@vsphere.local</userName><password>lab &lt;&amp;&gt; vsphere</password>";
        self.call("Login", "SessionManager", "SessionManager", login).await.unwrap();
    }

    /// `RetrievePropertiesEx` of one object.
    async fn read(&self, kind: &str, id: &str, paths: &[&str]) -> Node {
        let paths: String = paths.iter().map(|path| format!("<pathSet>{path}</pathSet>")).collect();
        let spec = format!(
            "<specSet><propSet><type>{kind}</type>{paths}</propSet><objectSet><obj type=\"{kind}\">{id}</obj>\
             </objectSet></specSet><options/>"
        );
        let answer = self.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", &spec).await.unwrap();
        answer.child("returnval").unwrap().child("objects").unwrap().clone()
    }

    async fn wait(&self, task: &Node) -> Result<Node, String> {
        let id = task.child("returnval").unwrap().text.clone();
        for _ in 0..400 {
            let object = self.read("Task", &id, &["info"]).await;
            let info = value(&object, "info").unwrap().clone();
            match info.text("state").unwrap() {
                "success" => return Ok(info),
                "error" => return Err(info.child("error").unwrap().child("fault").unwrap().xsi_type.clone().unwrap()),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("{id} does not end");
    }

    async fn run(&self, name: &str, kind: &str, id: &str, parameters: &str) -> Result<Node, String> {
        let task = self.call(name, kind, id, parameters).await?;
        self.wait(&task).await
    }

    async fn clone_vm(&self, name: &str, config: &str) -> Result<String, String> {
        let parameters = format!(
            "<folder type=\"Folder\">group-v3</folder><name>{name}</name><spec><location>\
             <datastore type=\"Datastore\">datastore-11</datastore><pool type=\"ResourcePool\">resgroup-22</pool>\
             <transform>flat</transform></location><template>false</template>{config}<powerOn>false</powerOn></spec>"
        );
        let info = self.run("CloneVM_Task", "VirtualMachine", "vm-101", &parameters).await?;
        Ok(info.child("result").unwrap().text.clone())
    }
}

fn value<'a>(object: &'a Node, path: &str) -> Option<&'a Node> {
    object.all("propSet").find(|set| set.text("name") == Some(path))?.child("val")
}

const FOLDERS: &str = "<selectSet xsi:type=\"TraversalSpec\"><name>f</name><type>Folder</type><path>childEntity</path>\
    <skip>false</skip><selectSet><name>f</name></selectSet><selectSet xsi:type=\"TraversalSpec\">\
    <type>Datacenter</type><path>vmFolder</path><skip>false</skip><selectSet><name>f</name></selectSet>\
    </selectSet></selectSet>";

fn folder_filter(paths: &str) -> String {
    format!(
        "<spec><propSet><type>VirtualMachine</type>{paths}</propSet><objectSet><obj type=\"Folder\">group-d1</obj>\
         {FOLDERS}</objectSet></spec><partialUpdates>false</partialUpdates>"
    )
}

#[tokio::test]
async fn a_session_begins_with_the_right_password_only() {
    let client = Client::new(6000.0).await;
    let content = client.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance", "").await.unwrap();
    let about = content.child("returnval").unwrap().child("about").unwrap();
    assert_eq!(about.text("apiType"), Some("VirtualCenter"));
    let fetch = "<prop>name</prop>";
    assert_eq!(client.call("Fetch", "Folder", "group-d1", fetch).await.unwrap_err(), "NotAuthenticated");
    let wrong = "<userName>administrator@vsphere.local</userName><password>x</password>";
    let body =
        format!("<Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">SessionManager</_this>{wrong}</Login>");
    let (status, fault, _) = client.post(&body).await;
    assert_eq!(status, 500);
    let text = fault.text("faultstring").unwrap();
    assert!(text.contains("incorrect") && text.contains("password"), "{text}");
    client.login().await;
    let name = client.call("Fetch", "Folder", "group-d1", fetch).await.unwrap();
    assert_eq!(name.text("returnval"), Some("Datacenters"));
    client.call("Logout", "SessionManager", "SessionManager", "").await.unwrap();
    assert_eq!(client.call("Fetch", "Folder", "group-d1", fetch).await.unwrap_err(), "NotAuthenticated");
    assert!(client.world.request_count() >= 6);
    client.endpoint.stop().await;
}

#[tokio::test]
async fn a_vm_is_found_and_read_by_nested_paths() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let view = "<container type=\"Folder\">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>";
    let view = client.call("CreateContainerView", "ViewManager", "ViewManager", view).await.unwrap();
    let view = view.child("returnval").unwrap().text.clone();
    let spec = format!(
        "<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet><objectSet>\
         <obj type=\"ContainerView\">{view}</obj><skip>true</skip><selectSet xsi:type=\"TraversalSpec\">\
         <type>ContainerView</type><path>view</path><skip>false</skip></selectSet></objectSet></specSet>\
         <options><maxObjects>5</maxObjects></options>"
    );
    let first = client.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", &spec).await.unwrap();
    let first = first.child("returnval").unwrap();
    assert_eq!(first.all("objects").count(), 5);
    let token = format!("<token>{}</token>", first.text("token").unwrap());
    let rest =
        client.call("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector", &token).await.unwrap();
    assert_eq!(rest.child("returnval").unwrap().all("objects").count(), shipped() - 5);
    assert_eq!(rest.child("returnval").unwrap().text("token"), None);

    let paths = [
        "config.hardware.device",
        "summary.runtime.powerState",
        "config.hardware.device[2000].capacityInKB",
        "snapshot",
        "config.ftInfo",
        "guest.net",
        "runtime.host",
    ];
    let vm = client.read("VirtualMachine", "vm-104", &paths).await;
    let devices = value(&vm, "config.hardware.device").unwrap();
    assert_eq!(devices.xsi_type.as_deref(), Some("ArrayOfVirtualDevice"));
    let disks = devices.children.iter().filter(|device| device.xsi_type.as_deref() == Some("VirtualDisk"));
    assert_eq!(disks.count(), 3);
    let power = value(&vm, "summary.runtime.powerState").unwrap();
    assert_eq!((power.xsi_type.as_deref(), power.text.as_str()), (Some("VirtualMachinePowerState"), "poweredOff"));
    assert_eq!(value(&vm, "config.hardware.device[2000].capacityInKB").unwrap().text, "41943040");
    let host = value(&vm, "runtime.host").unwrap();
    assert_eq!(
        (host.ref_type.as_deref(), host.xsi_type.as_deref()),
        (Some("HostSystem"), Some("ManagedObjectReference"))
    );
    for unset in ["snapshot", "config.ftInfo", "guest.net"] {
        assert!(value(&vm, unset).is_none(), "{unset}");
    }
    let path = "<inventoryPath>Datacenter/vm/templates/rhel8-template</inventoryPath>";
    let found = client.call("FindByInventoryPath", "SearchIndex", "SearchIndex", path).await.unwrap();
    assert_eq!(found.text("returnval"), Some("vm-107"));
    let bad = "<specSet><propSet><type>Folder</type><pathSet>nonsense</pathSet></propSet><objectSet>\
               <obj type=\"Folder\">group-d1</obj></objectSet></specSet><options/>";
    let refused = client.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", bad).await;
    assert_eq!(refused.unwrap_err(), "InvalidProperty");
    assert_eq!(client.call("Destroy_Task", "VirtualMachine", "vm-9", "").await.unwrap_err(), "ManagedObjectNotFound");
}

#[tokio::test]
async fn a_vm_is_cloned_powered_snapshotted_and_destroyed() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let config = "<config><deviceChange><operation>edit</operation><device xsi:type=\"VirtualVmxnet3\"><key>4000</key>\
        <backing xsi:type=\"VirtualEthernetCardNetworkBackingInfo\"><deviceName>Mgmt Network</deviceName></backing>\
        <addressType>generated</addressType><macAddress>00:50:56:9a:65:10</macAddress></device></deviceChange>\
        <deviceChange><operation>add</operation><fileOperation>create</fileOperation><device xsi:type=\"VirtualDisk\">\
        <key>-101</key><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName></fileName>\
        <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned></backing>\
        <controllerKey>1000</controllerKey><unitNumber>1</unitNumber><capacityInKB>1048576</capacityInKB></device>\
        </deviceChange><changeTrackingEnabled>true</changeTrackingEnabled></config>";
    let id = client.clone_vm("c1", config).await.unwrap();
    client.world.read(|state| {
        let vm = state.vm(&id).unwrap();
        assert_eq!((vm.disks.len(), vm.nics[0].network.as_str()), (2, "network-8"));
        assert_eq!((vm.disks[0].thin, vm.disks[1].thin), (false, true));
        assert_ne!(vm.nics[0].mac, "00:50:56:9a:65:10");
        assert_eq!(vm.disks[0].datastore, "datastore-11");
    });
    assert_eq!(client.clone_vm("c1", "").await.unwrap_err(), "DuplicateName");

    let off = client.run("PowerOffVM_Task", "VirtualMachine", &id, "").await;
    assert_eq!(off.unwrap_err(), "InvalidPowerState");
    client.run("PowerOnVM_Task", "VirtualMachine", &id, "").await.unwrap();
    assert_eq!(client.run("Destroy_Task", "VirtualMachine", &id, "").await.unwrap_err(), "InvalidPowerState");

    let snapshot = "<name>forklift-migration-precopy</name><memory>false</memory><quiesce>true</quiesce>";
    let info = client.run("CreateSnapshot_Task", "VirtualMachine", &id, snapshot).await.unwrap();
    let snapshot = info.child("result").unwrap().text.clone();
    let taken =
        client.read("VirtualMachineSnapshot", &snapshot, &["config.hardware.device[2000].backing.changeId"]).await;
    let change = value(&taken, "config.hardware.device[2000].backing.changeId").unwrap().text.clone();
    assert!(change.ends_with("/1"), "{change}");
    let parameters = "<deviceKey>2000</deviceKey><startOffset>0</startOffset><changeId>*</changeId>";
    let areas = client.call("QueryChangedDiskAreas", "VirtualMachine", &id, parameters).await.unwrap();
    assert_eq!(areas.child("returnval").unwrap().all("changedArea").count(), 1);
    assert_eq!(client.world.baseline_diff().len(), 1);
    let remove = "<removeChildren>false</removeChildren>";
    client.run("RemoveSnapshot_Task", "VirtualMachineSnapshot", &snapshot, remove).await.unwrap();

    for _ in 0..200 {
        if client.world.read(|state| state.vm(&id).unwrap().tools_running) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let guest = client.read("VirtualMachine", &id, &["guest.net", "guest.ipStack", "guest.toolsStatus"]).await;
    assert_eq!(value(&guest, "guest.toolsStatus").unwrap().text, "toolsOk");
    assert_eq!(value(&guest, "guest.net").unwrap().children.len(), 1);
    client.call("ShutdownGuest", "VirtualMachine", &id, "").await.unwrap();
    for _ in 0..200 {
        if client.world.read(|state| !state.vm(&id).unwrap().powered_on) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.call("ShutdownGuest", "VirtualMachine", &id, "").await.unwrap_err(), "InvalidPowerState");
    client.run("Destroy_Task", "VirtualMachine", &id, "").await.unwrap();
    assert_eq!(client.world.baseline_diff(), Vec::<String>::new());
}

#[tokio::test]
async fn shutdown_without_tools_is_refused() {
    let client = Client::new(60.0).await;
    client.login().await;
    client.run("PowerOnVM_Task", "VirtualMachine", "vm-101", "").await.unwrap();
    let refused = client.call("ShutdownGuest", "VirtualMachine", "vm-101", "").await;
    assert_eq!(refused.unwrap_err(), "ToolsUnavailable");
}

#[tokio::test]
async fn a_clone_can_be_cancelled_and_its_name_is_free_again() {
    let client = Client::new(200.0).await;
    client.login().await;
    let parameters = "<folder type=\"Folder\">group-v3</folder><name>c2</name><spec><location/>\
                      <template>false</template><powerOn>false</powerOn></spec>";
    let task = client.call("CloneVM_Task", "VirtualMachine", "vm-101", parameters).await.unwrap();
    assert!(client.world.baseline_diff()[0].contains("CloneVM_Task of mtv-tests-rhel8 is still going on"));
    let second = client.run("CloneVM_Task", "VirtualMachine", "vm-101", parameters).await;
    assert_eq!(second.unwrap_err(), "DuplicateName");
    client.call("CancelTask", "Task", &task.child("returnval").unwrap().text, "").await.unwrap();
    assert_eq!(client.wait(&task).await.unwrap_err(), "RequestCanceled");
    assert_eq!(client.world.baseline_diff(), Vec::<String>::new());
    let template = client.call("CloneVM_Task", "VirtualMachine", "vm-107", parameters).await;
    assert_eq!(template.unwrap_err(), "InvalidArgument");
}

#[tokio::test]
async fn updates_come_as_enter_modify_and_leave() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let made = client.call("CreatePropertyCollector", "PropertyCollector", "propertyCollector", "").await.unwrap();
    let own = made.child("returnval").unwrap().text.clone();
    let filter =
        folder_filter("<pathSet>name</pathSet><pathSet>runtime.powerState</pathSet><pathSet>snapshot</pathSet>");
    client.call("CreateFilter", "PropertyCollector", &own, &filter).await.unwrap();
    let first = "<version></version><options><maxObjectUpdates>4</maxObjectUpdates></options>";
    let mut update = client.call("WaitForUpdatesEx", "PropertyCollector", &own, first).await.unwrap();
    let mut entered = 0;
    loop {
        let set = update.child("returnval").unwrap();
        entered += set.child("filterSet").unwrap().all("objectSet").count();
        let next = format!("<version>{}</version><options/>", set.text("version").unwrap());
        if set.flag("truncated") != Some(true) {
            break;
        }
        update = client.call("WaitForUpdatesEx", "PropertyCollector", &own, &next).await.unwrap();
    }
    assert_eq!(entered, shipped());
    let version = update.child("returnval").unwrap().string("version").unwrap();
    let poll = format!("<version>{version}</version><options><maxWaitSeconds>0</maxWaitSeconds></options>");
    let idle = client.call("WaitForUpdatesEx", "PropertyCollector", &own, &poll).await.unwrap();
    assert!(idle.child("returnval").is_none());

    let wait = format!("<version>{version}</version>");
    let (update, ()) = tokio::join!(client.call("WaitForUpdatesEx", "PropertyCollector", &own, &wait), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.world.change(|state| state.set_power("vm-102", true)).unwrap();
    });
    let update = update.unwrap();
    let set = update.child("returnval").unwrap();
    let object = set.child("filterSet").unwrap().child("objectSet").unwrap();
    assert_eq!((object.text("kind"), object.text("obj")), (Some("modify"), Some("vm-102")));
    assert_eq!(object.all("changeSet").count(), 1);
    assert_eq!(object.child("changeSet").unwrap().text("val"), Some("poweredOn"));

    client.world.change(|state| {
        state.set_power("vm-102", false).unwrap();
        state.destroy("vm-102").unwrap();
    });
    let wait = format!("<version>{}</version>", set.text("version").unwrap());
    let update = client.call("WaitForUpdatesEx", "PropertyCollector", &own, &wait).await.unwrap();
    let object = update.child("returnval").unwrap().child("filterSet").unwrap().child("objectSet").unwrap();
    assert_eq!((object.text("kind"), object.text("obj")), (Some("leave"), Some("vm-102")));
    let stale = client.call("WaitForUpdatesEx", "PropertyCollector", &own, "<version>77</version>").await;
    assert_eq!(stale.unwrap_err(), "InvalidCollectorVersion");

    let version = update.child("returnval").unwrap().string("version").unwrap();
    let wait = format!("<version>{version}</version>");
    let (waited, cancelled) = tokio::join!(client.call("WaitForUpdatesEx", "PropertyCollector", &own, &wait), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.call("CancelWaitForUpdates", "PropertyCollector", &own, "").await
    });
    cancelled.unwrap();
    assert_eq!(waited.unwrap_err(), "RequestCanceled");
}

#[tokio::test]
async fn a_watched_view_tells_of_what_was_touched_and_of_nothing_else() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let view = "<container type=\"Folder\">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>";
    let view = client.call("CreateContainerView", "ViewManager", "ViewManager", view).await.unwrap();
    let view = view.child("returnval").unwrap().text.clone();
    let made = client.call("CreatePropertyCollector", "PropertyCollector", "propertyCollector", "").await.unwrap();
    let own = made.child("returnval").unwrap().text.clone();
    let filter = format!(
        "<spec><propSet><type>VirtualMachine</type><pathSet>name</pathSet><pathSet>runtime.powerState</pathSet></propSet>\
         <objectSet><obj type=\"ContainerView\">{view}</obj><skip>true</skip><selectSet xsi:type=\"TraversalSpec\">\
         <name>view</name><type>ContainerView</type><path>view</path><skip>false</skip></selectSet></objectSet></spec>\
         <partialUpdates>false</partialUpdates>"
    );
    client.call("CreateFilter", "PropertyCollector", &own, &filter).await.unwrap();
    let mut version = String::new();
    let mut news = async || {
        let wait = format!("<version>{version}</version><options><maxWaitSeconds>0</maxWaitSeconds></options>");
        let update = client.call("WaitForUpdatesEx", "PropertyCollector", &own, &wait).await.unwrap();
        let Some(set) = update.child("returnval") else { return Vec::new() };
        version = set.string("version").unwrap();
        let objects = set.child("filterSet").unwrap().all("objectSet");
        objects.map(|o| format!("{} {}", o.text("kind").unwrap(), o.text("obj").unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(news().await.len(), shipped());
    assert_eq!(news().await, Vec::<String>::new());
    let id = client.clone_vm("watched", "").await.unwrap();
    assert_eq!(news().await, [format!("enter {id}")]);
    client.world.change(|state| state.set_power(&id, true)).unwrap();
    assert_eq!(news().await, [format!("modify {id}")]);
    client.world.change(|state| state.vm_mut(&id).map(|vm| vm.annotation.push('x'))).unwrap();
    assert_eq!(news().await, Vec::<String>::new(), "nobody asked for the annotation");
    client.world.change(|state| {
        state.set_power(&id, false).unwrap();
        state.destroy(&id).unwrap();
    });
    assert_eq!(news().await, [format!("leave {id}")]);
}
