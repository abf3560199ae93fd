//! A Hyper-V host with its SMB share, by a [`Catalogue`] in the place of WinRM.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, CatalogueOptions};
use super::roster::Roster;
use super::{LabPlatform, PlatformOptions};
use crate::api::world::{Kind, Vm};
use crate::error::LabError;
use crate::ports::GuestDirectory;

/// First four bytes of the MACs that are made up.
const MACS: &str = "00:15:5d:0b";
/// The login; it guards nothing.
const USER: &str = "Administrator";
const PASSWORD: &str = "lab-hyperv";
const SHARE: &str = "//127.0.0.1/vms";

/// The lab's Hyper-V host.
pub struct Hyperv {
    roster: Arc<Roster>,
    catalogue: Catalogue,
}

impl Hyperv {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let roster = Arc::new(Roster::new(&options.world.hyperv, MACS));
        let own =
            CatalogueOptions { listen: options.listen, user: USER, password: PASSWORD, facts: json!({"share": SHARE}) };
        let catalogue = Catalogue::start("Hyper-V", roster.clone(), own, options.ca).await?;
        Ok(Self { roster, catalogue })
    }
}

#[async_trait]
impl LabPlatform for Hyperv {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "hyperv",
            "version": "2022",
            "fqdn": "127.0.0.1",
            "winrm_port": self.catalogue.port(),
            "username": USER,
            "password": PASSWORD,
            "smb_url": SHARE,
            "vms": self.roster.vms(),
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
        });
        vec![("hyperv".to_owned(), profile)]
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.roster.clone()
    }

    /// Nobody can make anything here. A source that a migration switched off stays off, as MTV means it.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Hyperv {
            self.catalogue.grow(vms);
        }
        Ok(())
    }

    fn requests(&self) -> (&'static str, u64) {
        ("hyperv_requests", self.catalogue.requests())
    }

    async fn stop(&self) {
        self.catalogue.stop().await;
    }
}
