//! A region of EC2, by a [`Catalogue`] in the place of AWS's query API.

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
const MACS: &str = "0e:1a:2b:3c";
/// The key pair; it guards nothing.
const ACCESS_KEY_ID: &str = "AKIALABMTVMATRIX0001";
const SECRET_ACCESS_KEY: &str = "lab-ec2-secret";
const REGION: &str = "us-east-1";
/// Where the lab's workers are.
const ZONE: &str = "us-east-1a";

/// The lab's region.
pub struct Ec2 {
    roster: Arc<Roster>,
    catalogue: Catalogue,
    listen: std::net::IpAddr,
}

impl Ec2 {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let roster = Arc::new(Roster::new(&options.world.ec2, MACS));
        let own = CatalogueOptions {
            listen: options.listen,
            user: ACCESS_KEY_ID,
            password: SECRET_ACCESS_KEY,
            facts: json!({"region": REGION, "zone": ZONE}),
        };
        let catalogue = Catalogue::start("EC2", roster.clone(), own, options.ca).await?;
        Ok(Self { roster, catalogue, listen: options.listen })
    }
}

#[async_trait]
impl LabPlatform for Ec2 {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "ec2",
            "api_url": format!("https://{}:{}", self.listen, self.catalogue.port()),
            "region": REGION,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
            "target_az": ZONE,
            "vms": self.roster.vms(),
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
        });
        vec![("ec2".to_owned(), profile)]
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.roster.clone()
    }

    /// Nobody can make anything here; the snapshots of a migration are MTV's own and not played.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Ec2 {
            self.catalogue.grow(vms);
        }
        Ok(())
    }

    fn requests(&self) -> (&'static str, u64) {
        ("ec2_requests", self.catalogue.requests())
    }

    async fn stop(&self) {
        self.catalogue.stop().await;
    }
}
