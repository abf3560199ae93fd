//! vSphere as one of the lab's platforms: the endpoint over its world, with its login.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{LabPlatform, PlatformOptions};
use super::agent::Agent;
use super::{VsphereEndpoint, VsphereOptions};
use crate::api::world::{Kind, LUKS, Vm};
use crate::error::LabError;
use crate::esxi;
use crate::faults::Dialect;
use crate::ports::GuestDirectory;
use crate::world::{ARRAY_LOGIN, SPARE_LUN, World};

/// The login; it guards nothing.
const USER: &str = "administrator@vsphere.local";
const PASSWORD: &str = "lab-vsphere";
/// By which it is kept.
const PART: &str = "vSphere";
/// The array where a world names none.
const ARRAY: &str = "ontap";

/// The lab's vCenter.
pub struct Vsphere {
    world: Arc<World>,
    /// MTV's word for the array behind its datastores.
    array: String,
    /// MTV's word for how its populators reach the hosts.
    method: Option<String>,
    endpoint: VsphereEndpoint,
    /// A host that is reached directly, too.
    host: Option<Host>,
}

/// A host's own API.
struct Host {
    name: String,
    endpoint: VsphereEndpoint,
}

impl Host {
    async fn start(world: &Arc<World>, name: &str, options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let id = world.read(|state| state.hosts.iter().find(|host| host.name == name).map(|host| host.id.clone()));
        let Some(host) = id else {
            return Err(LabError::Start {
                part: "world".to_owned(),
                cause: format!("`esxi_endpoint`: no host {name}"),
            });
        };
        let own = VsphereOptions {
            listen: options.listen,
            port: 0,
            username: esxi::USER.to_owned(),
            password: esxi::PASSWORD.to_owned(),
            clock: options.clock,
            faults: options.faults.at("esxi", Dialect::Soap),
            levers: options.levers.clone(),
            agent: Some(Agent { host }),
        };
        let endpoint = super::start(world.clone(), own, options.ca).await?;
        Ok(Self { name: name.to_owned(), endpoint })
    }
}

impl Vsphere {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let world = World::under(&options.world.vsphere, &options.sky);
        if let Some(kept) = options.before(PART) {
            world.restore(kept)?;
        }
        let own = VsphereOptions {
            listen: options.listen,
            port: 0,
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            clock: options.clock,
            faults: options.faults.at("vsphere", Dialect::Soap),
            levers: options.levers.clone(),
            agent: None,
        };
        let endpoint = super::start(world.clone(), own, options.ca).await?;
        let failed =
            |e: std::io::Error| LabError::Start { part: "the ESXi hosts' sshd".to_owned(), cause: e.to_string() };
        world.start_esxi(options.listen).await.map_err(failed)?;
        let array = options.world.vsphere.array.clone().unwrap_or_else(|| ARRAY.to_owned());
        let method = options.world.vsphere.esxi_clone_method.clone();
        let host = match &options.world.vsphere.esxi_endpoint {
            Some(name) => Some(Host::start(&world, name, options).await?),
            None => None,
        };
        Ok(Self { world, array, method, endpoint, host })
    }

    /// The array that copies, and which datastores are its own, by the world's order. It has the keys of every vendor:
    /// what is another's is passed over.
    fn array_section(&self) -> Value {
        let stores = self.world.read(|state| state.datastores.clone());
        let mut own = stores.iter().filter(|store| store.xcopy).map(|store| store.id.clone());
        let other = stores.iter().find(|store| store.kind == "VMFS" && !store.xcopy).map(|store| store.id.clone());
        let host = self.world.read(|state| state.hosts.last().map(|host| host.id.clone()));
        json!({
            "storage_vendor_product": self.array,
            "datastore_id": own.next(),
            "secondary_datastore_id": own.next(),
            "non_xcopy_datastore_id": other,
            "storage_hostname": ARRAY_LOGIN.host,
            "storage_username": ARRAY_LOGIN.user,
            "storage_password": ARRAY_LOGIN.password,
            "ontap_svm": "svm-lab",
            "vantara_storage_id": "800000000001",
            "vantara_storage_port": "23450",
            "vantara_hostgroup_id_list": "CL1-A,1:CL2-A,1",
            "pure_cluster_prefix": "px_lab",
            "powerflex_system_id": "lab-system",
            "powermax_symmetrix_id": "000000000001",
            "storage_secret_extra": {"POWERMAX_PORT_GROUP_NAME": "lab-ports"},
            "dedicated_migration_hosts": host.into_iter().collect::<Vec<_>>(),
            "esxi_clone_method": self.method.as_deref().unwrap_or("vib"),
            "esxi_user": esxi::USER,
            "esxi_password": esxi::PASSWORD,
            "esxi_ssh_endpoints": self.world.esxi().map(|hosts| hosts.addresses()).unwrap_or_default(),
            "rdm_lun_uuid": SPARE_LUN,
        })
    }
}

#[async_trait]
impl LabPlatform for Vsphere {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "vsphere",
            "version": "8.0.3",
            "fqdn": super::super::host_of(&self.endpoint.url()),
            "api_url": self.endpoint.url(),
            "username": USER,
            "password": PASSWORD,
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
            "luks_passphrase": LUKS,
            "copyoffload": self.array_section(),
        });
        let mut all = vec![("vsphere".to_owned(), profile.clone())];
        if let Some(host) = &self.host {
            let mut own = profile;
            own["endpoint_type"] = json!("esxi");
            own["clone_provider"] = json!("vsphere");
            own["api_url"] = json!(host.endpoint.url());
            own["username"] = json!(esxi::USER);
            own["password"] = json!(esxi::PASSWORD);
            own["copyoffload"]["esxi_host"] = json!(host.name);
            all.push(("esxi".to_owned(), own));
        }
        all
    }

    fn kept(&self) -> Option<(&'static str, Value)> {
        Some((PART, self.world.kept()))
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.world.clone()
    }

    fn leftovers(&self) -> Vec<String> {
        self.world.baseline_diff()
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Vsphere {
            self.world.grow(vms);
        }
        Ok(())
    }

    fn requests(&self) -> (&'static str, u64) {
        ("soap_requests", self.world.request_count())
    }

    async fn stop(&self) {
        if let Some(host) = &self.host {
            host.endpoint.stop().await;
        }
        if let Some(hosts) = self.world.esxi() {
            hosts.stop().await;
        }
        self.endpoint.stop().await;
    }
}
