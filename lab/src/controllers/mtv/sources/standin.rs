//! Talking to the lab's stand-ins for platforms whose protocol it does not speak: the login, the
//! machines, the power. What MTV shows of them is each platform's own file.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::transport::{Protocol, told};
use crate::controllers::mtv::Mtv;
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvNic, InvVm, Inventory};

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Nic {
    pub mac: String,
    /// Index into [`Catalogue::networks`].
    pub network: usize,
    pub fixed: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Machine {
    pub name: String,
    pub uuid: String,
    pub windows: bool,
    pub system: String,
    pub disks: Vec<u64>,
    pub nics: Vec<Nic>,
    pub efi: bool,
    pub cpus: u32,
    pub memory_mib: u64,
    pub on: bool,
}

/// What the stand-in answers.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Catalogue {
    pub facts: Value,
    pub networks: Vec<String>,
    pub machines: Vec<Machine>,
}

/// How a platform turns a catalogue into MTV's inventory, and names a machine.
#[derive(Clone, Copy)]
pub(super) struct Translation {
    pub inventory: fn(&Catalogue) -> Inventory,
    pub id: fn(&Machine) -> String,
}

pub(super) struct StandIn {
    client: reqwest::Client,
    base: String,
    user: String,
    password: String,
    translation: Translation,
    look: Duration,
}

impl StandIn {
    /// Logs in and looks once.
    pub async fn connect(
        mtv: &Mtv,
        login: &Login,
        base: String,
        (user, password): (&str, &str),
        translation: Translation,
        look: Duration,
    ) -> Result<(Arc<Self>, Catalogue), ConnectError> {
        let (user, password) = (user.to_owned(), password.to_owned());
        let client = mtv.transports.of(login, Protocol::Rest)?;
        let own = Arc::new(Self { client, base, user, password, translation, look });
        let answer = own.client.get(format!("{}/catalogue", own.base)).basic_auth(&own.user, Some(&own.password));
        let answer = answer.send().await.map_err(|e| ConnectError::Failed(told(&reqwest::Method::GET, &e)))?;
        match answer.status().as_u16() {
            200 => {
                let catalogue = answer.json().await.map_err(|e| ConnectError::Failed(e.to_string()))?;
                Ok((own, catalogue))
            }
            401 => Err(ConnectError::Auth(format!("{} refused the login of {}", own.base, own.user))),
            code => Err(ConnectError::Failed(format!("{} answered {code}", own.base))),
        }
    }

    fn catalogue<'a>(&'a self) -> BoxFuture<'a, Result<Catalogue, String>> {
        async move {
            let request =
                self.client.get(format!("{}/catalogue", self.base)).basic_auth(&self.user, Some(&self.password));
            let answer = request
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
                .map_err(|e| told(&reqwest::Method::GET, &e))?;
            answer.json().await.map_err(|e| e.to_string())
        }
        .boxed()
    }

    async fn find(&self, id: &str) -> Result<Machine, String> {
        let machines = self.catalogue().await?.machines;
        let same = |machine: &Machine| (self.translation.id)(machine) == id;
        machines.into_iter().find(same).ok_or_else(|| format!("there is no VM {id}"))
    }
}

#[async_trait]
impl PlatformClient for StandIn {
    async fn collect(&self) -> Result<Inventory, String> {
        Ok((self.translation.inventory)(&self.catalogue().await?))
    }

    async fn changed(&self) -> Result<bool, String> {
        tokio::time::sleep(self.look).await;
        Ok(true)
    }

    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String> {
        let name = self.find(vm_id).await?.name;
        let request = self.client.post(format!("{}/machines/{name}/power?on={on}", self.base));
        let answer = request.basic_auth(&self.user, Some(&self.password)).send().await;
        answer.and_then(reqwest::Response::error_for_status).map(drop).map_err(|e| told(&reqwest::Method::POST, &e))
    }

    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        Ok(self.find(vm_id).await?.on)
    }

    async fn create_snapshot(&self, vm_id: &str, _: &str) -> Result<String, String> {
        Err(format!("{vm_id} has no snapshots here"))
    }

    async fn remove_snapshot(&self, vm_id: &str, _: &str) -> Result<(), String> {
        Err(format!("{vm_id} has no snapshots here"))
    }

    async fn logout(&self) {}
}

/// The record that validation and execution work with; the platform adds what is its own.
pub(super) fn record(
    machine: &Machine,
    id: String,
    network_id: impl Fn(usize) -> String,
    disk: impl Fn(usize) -> (String, String),
) -> InvVm {
    let nic = |nic: &Nic| InvNic { mac: nic.mac.clone(), network_id: network_id(nic.network), vsphere: None };
    let disk = |(index, gib): (usize, &u64)| {
        let (source, storage_id) = disk(index);
        InvDisk { source, storage_id, capacity_bytes: gib << 30, ..InvDisk::default() }
    };
    InvVm {
        id,
        name: machine.name.clone(),
        power_on: machine.on,
        firmware_efi: machine.efi,
        secure_boot: machine.efi && machine.windows,
        tpm: machine.efi && machine.windows,
        cpu_count: machine.cpus,
        // MTV makes the processors of both platforms the cores of one socket.
        cores_per_socket: machine.cpus,
        memory_mb: machine.memory_mib,
        guest_id: machine.system.clone(),
        guest_name: machine.system.clone(),
        nics: machine.nics.iter().map(nic).collect(),
        disks: machine.disks.iter().enumerate().map(disk).collect(),
        ..InvVm::default()
    }
}
