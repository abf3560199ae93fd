//! One function an operation: the whole request body. Parameters are in WSDL order.

use super::MoRef;
use super::envelope::request;
use super::property::FilterSpec;
use super::spec::{CloneSpec, ConfigSpec};
use super::xml::{Element, Writer};

/// What `RetrieveServiceContent` says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceContent {
    pub root_folder: MoRef,
    pub property_collector: MoRef,
    pub view_manager: Option<MoRef>,
    pub session_manager: Option<MoRef>,
    pub task_manager: Option<MoRef>,
    pub file_manager: Option<MoRef>,
    pub guest_operations_manager: Option<MoRef>,
    pub name: String,
    pub full_name: String,
    pub version: String,
    pub build: String,
    /// `VirtualCenter` or `HostAgent`.
    pub api_type: String,
    pub api_version: String,
    /// What MTV calls the product.
    pub license_product_name: String,
    /// Absent on ESXi.
    pub instance_uuid: Option<String>,
}

impl ServiceContent {
    pub fn parse(values: &[Element]) -> Option<Self> {
        let content = values.first()?;
        let about = |name: &str| content.text_at(&format!("about/{name}")).unwrap_or_default().to_owned();
        Some(Self {
            root_folder: content.moref_at("rootFolder")?,
            property_collector: content.moref_at("propertyCollector")?,
            view_manager: content.moref_at("viewManager"),
            session_manager: content.moref_at("sessionManager"),
            task_manager: content.moref_at("taskManager"),
            file_manager: content.moref_at("fileManager"),
            guest_operations_manager: content.moref_at("guestOperationsManager"),
            name: about("name"),
            full_name: about("fullName"),
            version: about("version"),
            build: about("build"),
            api_type: about("apiType"),
            api_version: about("apiVersion"),
            license_product_name: about("licenseProductName"),
            instance_uuid: content.text_at("about/instanceUuid").map(str::to_owned),
        })
    }
    /// A vCenter, as opposed to one ESXi host.
    pub fn is_vcenter(&self) -> bool {
        self.api_type == "VirtualCenter"
    }
}

/// The only object whose id is fixed.
pub fn retrieve_service_content() -> String {
    request("RetrieveServiceContent", &MoRef::new("ServiceInstance", "ServiceInstance"), |_| ())
}

pub fn login(session_manager: &MoRef, user: &str, password: &str) -> String {
    request("Login", session_manager, |w| {
        w.text("userName", user).text("password", password).text("locale", "en_US");
    })
}

pub fn logout(session_manager: &MoRef) -> String {
    request("Logout", session_manager, |_| ())
}

pub fn create_container_view(view_manager: &MoRef, container: &MoRef, kinds: &[&str]) -> String {
    request("CreateContainerView", view_manager, |w| {
        w.moref("container", container);
        for kind in kinds {
            w.text("type", kind);
        }
        w.text("recursive", true);
    })
}

pub fn destroy_view(view: &MoRef) -> String {
    request("DestroyView", view, |_| ())
}

pub fn retrieve_properties(collector: &MoRef, spec: &FilterSpec<'_>, page_size: Option<u32>) -> String {
    request("RetrievePropertiesEx", collector, |w| {
        spec.write("specSet", w);
        w.node("options", |w| {
            w.maybe("maxObjects", page_size);
        });
    })
}

pub fn continue_retrieve(collector: &MoRef, token: &str) -> String {
    request("ContinueRetrievePropertiesEx", collector, |w| {
        w.text("token", token);
    })
}

pub fn create_property_collector(collector: &MoRef) -> String {
    request("CreatePropertyCollector", collector, |_| ())
}

pub fn destroy_property_collector(collector: &MoRef) -> String {
    request("DestroyPropertyCollector", collector, |_| ())
}

pub fn destroy_property_filter(filter: &MoRef) -> String {
    request("DestroyPropertyFilter", filter, |_| ())
}

pub fn create_filter(collector: &MoRef, spec: &FilterSpec<'_>) -> String {
    request("CreateFilter", collector, |w| {
        spec.write("spec", w);
        w.text("partialUpdates", false);
    })
}

pub fn wait_for_updates(collector: &MoRef, version: &str, max_wait_seconds: u64) -> String {
    request("WaitForUpdatesEx", collector, |w| {
        w.text("version", version).node("options", |w| {
            w.text("maxWaitSeconds", max_wait_seconds);
        });
    })
}

pub fn clone_vm(vm: &MoRef, folder: &MoRef, name: &str, spec: &CloneSpec) -> String {
    request("CloneVM_Task", vm, |w| {
        w.moref("folder", folder).text("name", super::encode_name(name));
        spec.write(w);
    })
}

pub fn reconfigure(vm: &MoRef, spec: &ConfigSpec) -> String {
    request("ReconfigVM_Task", vm, |w| spec.write("spec", w))
}

/// An override of a cluster's DRS: it leaves this VM alone.
pub fn without_drs(cluster: &MoRef, vm: &MoRef) -> String {
    request("ReconfigureComputeResource_Task", cluster, |w| {
        w.typed("spec", "ClusterConfigSpecEx", |w| {
            w.node("drsVmConfigSpec", |w| {
                w.text("operation", "add").node("info", |w| {
                    w.moref("key", vm).text("enabled", false);
                });
            });
        })
        .text("modify", true);
    })
}

pub fn power_on(vm: &MoRef) -> String {
    request("PowerOnVM_Task", vm, |_| ())
}

pub fn power_off(vm: &MoRef) -> String {
    request("PowerOffVM_Task", vm, |_| ())
}

/// Only asks; the power state tells when the guest is down.
pub fn shutdown_guest(vm: &MoRef) -> String {
    request("ShutdownGuest", vm, |_| ())
}

/// A login into a guest.
#[derive(Clone, Copy)]
pub struct GuestAuth<'a> {
    pub username: &'a str,
    pub password: &'a str,
}

impl GuestAuth<'_> {
    fn write(self, w: &mut Writer) {
        w.typed("auth", "NamePasswordAuthentication", |w| {
            w.text("interactiveSession", false).text("username", self.username).text("password", self.password);
        });
    }
}

/// Runs a program in the guest; answers with its pid at once.
pub fn start_program(manager: &MoRef, vm: &MoRef, auth: GuestAuth<'_>, program: &str, arguments: &str) -> String {
    request("StartProgramInGuest", manager, |w| {
        w.moref("vm", vm);
        auth.write(w);
        w.node("spec", |w| {
            w.text("programPath", program).text("arguments", arguments);
        });
    })
}

/// What became of a program; its exit code stays for five minutes.
pub fn list_process(manager: &MoRef, vm: &MoRef, auth: GuestAuth<'_>, pid: i64) -> String {
    request("ListProcessesInGuest", manager, |w| {
        w.moref("vm", vm);
        auth.write(w);
        w.text("pids", pid);
    })
}

pub fn create_snapshot(vm: &MoRef, name: &str, description: &str, memory: bool, quiesce: bool) -> String {
    request("CreateSnapshot_Task", vm, |w| {
        w.text("name", name).text("description", description).text("memory", memory).text("quiesce", quiesce);
    })
}

pub fn remove_snapshot(snapshot: &MoRef, children: bool) -> String {
    request("RemoveSnapshot_Task", snapshot, |w| {
        w.text("removeChildren", children).text("consolidate", true);
    })
}

pub fn destroy(object: &MoRef) -> String {
    request("Destroy_Task", object, |_| ())
}

pub fn cancel_task(task: &MoRef) -> String {
    request("CancelTask", task, |_| ())
}

/// Parents are created too.
pub fn make_directory(file_manager: &MoRef, path: &str, datacenter: Option<&MoRef>) -> String {
    request("MakeDirectory", file_manager, |w| {
        w.text("name", path).maybe_moref("datacenter", datacenter).text("createParentDirectories", true);
    })
}

#[cfg(test)]
mod tests {
    use super::super::property::{PropertySpec, Select};
    use super::super::spec::*;
    use super::*;

    /// The part of a request inside the method's element, without `_this`.
    fn inside(body: &str) -> &str {
        let begin = body.find("</_this>").unwrap() + "</_this>".len();
        let end = body.rfind("</soapenv:Body>").unwrap();
        let inside = &body[begin..end];
        &inside[..inside.rfind("</").unwrap()]
    }

    fn vm() -> MoRef {
        MoRef::new("VirtualMachine", "vm-1")
    }

    #[test]
    fn a_clone_is_written_in_the_order_of_the_wsdl() {
        let ds = MoRef::new("Datastore", "datastore-1");
        let card = Element::parse(
            br#"<VirtualDevice xmlns:xsi="i" xsi:type="VirtualVmxnet3"><key>4000</key><deviceInfo><label>n</label></deviceInfo><backing xsi:type="VirtualEthernetCardDistributedVirtualPortBackingInfo"><port><switchUuid>50 0a</switchUuid><portgroupKey>dvportgroup-11</portgroupKey><portKey>8</portKey><connectionCookie>1</connectionCookie></port></backing><connectable><migrateConnect>unset</migrateConnect><startConnected>true</startConnected><allowGuestControl>true</allowGuestControl><connected>false</connected><status>untried</status></connectable><controllerKey>100</controllerKey><unitNumber>7</unitNumber><addressType>assigned</addressType><macAddress>00:50:56:00:00:01</macAddress></VirtualDevice>"#,
        )
        .unwrap();
        let backing = |name: &str, provisioning| DiskBacking {
            file_name: name.to_owned(),
            datastore: Some(ds.clone()),
            disk_mode: "persistent".to_owned(),
            provisioning,
        };
        let spec = CloneSpec {
            location: RelocateSpec {
                datastore: Some(ds.clone()),
                pool: Some(MoRef::new("ResourcePool", "resgroup-1")),
                host: Some(MoRef::new("HostSystem", "host-1")),
                disks: vec![DiskLocator {
                    disk_id: 2000,
                    datastore: ds.clone(),
                    backing: Some(backing("", Provisioning::ThickEager)),
                }],
                transform: Some(Transform::Flat),
            },
            config: ConfigSpec {
                annotation: Some("a & b".to_owned()),
                device_changes: vec![
                    DeviceChange::RegenerateMac { card },
                    DeviceChange::AddDisk {
                        key: -101,
                        backing: backing("[ds1]", Provisioning::Thin),
                        controller_key: 1000,
                        unit: 1,
                        capacity_kb: 1_048_576,
                    },
                ],
                extra_config: vec![("ctkEnabled".to_owned(), "true".to_owned())],
                change_tracking: Some(true),
            },
        };
        let body = clone_vm(&vm(), &MoRef::new("Folder", "group-v3"), "n/1", &spec);
        assert_eq!(
            inside(&body),
            "<folder type=\"Folder\">group-v3</folder><name>n%2f1</name><spec><location>\
             <datastore type=\"Datastore\">datastore-1</datastore><pool type=\"ResourcePool\">resgroup-1</pool>\
             <host type=\"HostSystem\">host-1</host><disk><diskId>2000</diskId><datastore type=\"Datastore\">datastore-1</datastore>\
             <diskBackingInfo xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName></fileName><datastore type=\"Datastore\">datastore-1</datastore>\
             <diskMode>persistent</diskMode><thinProvisioned>false</thinProvisioned><eagerlyScrub>true</eagerlyScrub></diskBackingInfo></disk>\
             <transform>flat</transform></location><template>false</template><config><annotation>a &amp; b</annotation>\
             <deviceChange><operation>edit</operation><device xsi:type=\"VirtualVmxnet3\"><key>4000</key>\
             <backing xsi:type=\"VirtualEthernetCardDistributedVirtualPortBackingInfo\"><port><switchUuid>50 0a</switchUuid><portgroupKey>dvportgroup-11</portgroupKey></port></backing>\
             <connectable><startConnected>true</startConnected><allowGuestControl>true</allowGuestControl><connected>false</connected></connectable>\
             <controllerKey>100</controllerKey><unitNumber>7</unitNumber><addressType>generated</addressType></device></deviceChange>\
             <deviceChange><operation>add</operation><fileOperation>create</fileOperation><device xsi:type=\"VirtualDisk\"><key>-101</key>\
             <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds1]</fileName><datastore type=\"Datastore\">datastore-1</datastore>\
             <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><eagerlyScrub>false</eagerlyScrub></backing>\
             <controllerKey>1000</controllerKey><unitNumber>1</unitNumber><capacityInKB>1048576</capacityInKB></device></deviceChange>\
             <extraConfig><key>ctkEnabled</key><value xsi:type=\"xsd:string\">true</value></extraConfig>\
             <changeTrackingEnabled>true</changeTrackingEnabled></config><powerOn>false</powerOn></spec>"
        );
    }

    #[test]
    fn a_view_is_read_through_a_traversal() {
        let view = MoRef::new("ContainerView", "session[1]2");
        let spec = FilterSpec {
            props: vec![PropertySpec { kind: "VirtualMachine", paths: &["name"] }],
            select: Select::View(&view),
        };
        let body = retrieve_properties(&MoRef::new("PropertyCollector", "pc"), &spec, Some(500));
        assert_eq!(
            inside(&body),
            "<specSet><propSet><type>VirtualMachine</type><all>false</all><pathSet>name</pathSet></propSet>\
             <objectSet><obj type=\"ContainerView\">session[1]2</obj><skip>true</skip>\
             <selectSet xsi:type=\"TraversalSpec\"><name>view</name><type>ContainerView</type><path>view</path><skip>false</skip></selectSet></objectSet></specSet>\
             <options><maxObjects>500</maxObjects></options>"
        );
    }

    #[test]
    fn small_requests_keep_their_order() {
        let manager = MoRef::new("SessionManager", "SessionManager");
        assert_eq!(
            inside(&login(&manager, "u", "p<")),
            "<userName>u</userName><password>p&lt;</password><locale>en_US</locale>"
        );
        assert_eq!(
            inside(&create_snapshot(&vm(), "s", "", false, false)),
            "<name>s</name><description></description><memory>false</memory><quiesce>false</quiesce>"
        );
        assert_eq!(
            inside(&wait_for_updates(&MoRef::new("PropertyCollector", "pc"), "", 20)),
            "<version></version><options><maxWaitSeconds>20</maxWaitSeconds></options>"
        );
    }
}
