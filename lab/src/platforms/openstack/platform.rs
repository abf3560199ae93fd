//! OpenStack as one of the lab's platforms: the endpoint over its cloud, with its login.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{LabPlatform, PlatformOptions};
use super::baseline::Baseline;
use super::{Cloud, PASSWORD, PROJECT, REGION, USER, router};
use crate::api::world::{Kind, Vm};
use crate::error::LabError;
use crate::faults::Dialect;
use crate::kept;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};
use crate::serve::{self, Endpoint};

/// By which it is kept.
const PART: &str = "OpenStack";

/// The lab's cloud.
pub struct Openstack {
    cloud: Arc<Cloud>,
    baseline: Mutex<Baseline>,
    endpoint: Endpoint,
}

impl Openstack {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let part = PART;
        let tls = options.ca.server_config(&[options.listen.to_string(), "localhost".to_owned()])?;
        let listener = serve::bind(part, options.listen, 0).await?;
        let address =
            listener.local_addr().map_err(|e| LabError::Start { part: part.to_owned(), cause: e.to_string() })?;
        let cloud = Arc::new(Cloud::new(&options.world.openstack, options.clock, format!("https://{address}")));
        if let Some(kept) = options.before(PART) {
            *cloud.lock() = kept::read(PART, kept)?;
        }
        let baseline = Mutex::new(Baseline::of(&cloud.lock()));
        let endpoint = serve::https_with(
            part,
            listener,
            tls,
            router(cloud.clone()),
            &options.faults.at("openstack", Dialect::Rest),
        )?;
        Ok(Self { cloud, baseline, endpoint })
    }
}

#[async_trait]
impl LabPlatform for Openstack {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "openstack",
            "version": "17.1",
            "fqdn": super::super::host_of(&self.cloud.base),
            "api_url": format!("{}/identity/v3", self.cloud.base),
            "username": USER,
            "password": PASSWORD,
            "project_name": PROJECT,
            "region_name": REGION,
            "user_domain_name": "Default",
            "user_domain_id": "default",
            "project_domain_id": "default",
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
        });
        vec![("openstack".to_owned(), profile)]
    }

    fn kept(&self) -> Option<(&'static str, Value)> {
        Some((PART, kept::written(PART, &self.cloud.lock().settled())))
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.cloud.clone()
    }

    fn leftovers(&self) -> Vec<String> {
        let state = self.cloud.lock();
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner).diff(&state)
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Openstack {
            let mut state = self.cloud.lock();
            super::seed::grow(&mut state, vms);
            *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = Baseline::of(&state);
        }
        Ok(())
    }

    fn requests(&self) -> (&'static str, u64) {
        ("openstack_requests", self.cloud.requests.load(Ordering::Relaxed))
    }

    async fn stop(&self) {
        self.endpoint.stop().await;
    }
}

impl GuestDirectory for Cloud {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        let state = self.lock();
        let port = state.ports.values().find(|p| p.mac.eq_ignore_ascii_case(mac))?;
        let server = state.servers.get(&port.device)?;
        let guest = server.guest.clone()?;
        let nics = server.ports.iter().filter_map(|id| state.ports.get(id)).enumerate().map(|(index, port)| GuestNic {
            name: if guest.windows { format!("Ethernet{index}") } else { format!("eth{index}") },
            mac: port.mac.clone(),
            addresses: port.fixed.iter().map(|(_, ip)| (IpAddr::V4(*ip), 24)).collect(),
            is_static: false,
            gateway: None,
            dns: Vec::new(),
        });
        let login = if guest.windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
        Some(GuestProfile {
            files: Default::default(),
            fails: guest.fails,
            luks: None,
            shared: None,
            windows: guest.windows,
            hostname: guest.hostname,
            pretty_name: guest.pretty_name,
            users: vec![(login.0.to_owned(), login.1.to_owned())],
            nics: nics.collect(),
        })
    }
}
