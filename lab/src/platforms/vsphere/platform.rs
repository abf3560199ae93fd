//! vSphere as one of the lab's platforms: the endpoint over its world, with its login.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{LabPlatform, PlatformOptions};
use super::{VsphereEndpoint, VsphereOptions};
use crate::api::world::{Kind, LUKS, Vm};
use crate::error::LabError;
use crate::faults::Dialect;
use crate::ports::GuestDirectory;
use crate::world::World;

/// The login; it guards nothing.
const USER: &str = "administrator@vsphere.local";
const PASSWORD: &str = "lab-vsphere";

/// The lab's vCenter.
pub struct Vsphere {
    world: Arc<World>,
    endpoint: VsphereEndpoint,
}

impl Vsphere {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let world = World::under(&options.world.vsphere, &options.sky);
        let own = VsphereOptions {
            listen: options.listen,
            port: 0,
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            clock: options.clock,
            faults: options.faults.at("vsphere", Dialect::Soap),
            levers: options.levers.clone(),
        };
        let endpoint = super::start(world.clone(), own, options.ca).await?;
        Ok(Self { world, endpoint })
    }
}

#[async_trait]
impl LabPlatform for Vsphere {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "vsphere",
            "version": "8.0.3",
            "fqdn": "127.0.0.1",
            "api_url": self.endpoint.url(),
            "username": USER,
            "password": PASSWORD,
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
            "luks_passphrase": LUKS,
        });
        vec![("vsphere".to_owned(), profile)]
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
        self.endpoint.stop().await;
    }
}
