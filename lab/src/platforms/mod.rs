//! Source platforms: each is an endpoint of its own that standard clients can talk to.
//!
//! A platform knows its protocol and its world; it knows nothing of MTV or of the cluster. A new
//! platform is a folder here and a line in [`start`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::clock::Clock;
use crate::api::world::{Failure, Kind, Vm, World};
use crate::error::LabError;
use crate::esxi::EsxiHost;
use crate::faults::Faults;
use crate::levers::Levers;
use crate::pki::LabCa;
use crate::ports::{GuestDirectory, GuestProfile};
use crate::serve;
use crate::weather::Sky;

pub(crate) mod catalogue;
pub(crate) mod ec2;
pub(crate) mod hyperv;
pub(crate) mod openshift;
pub(crate) mod openstack;
pub(crate) mod ova;
pub mod ovirt;
pub(crate) mod roster;
pub(crate) mod vsphere;

/// What platforms are started with.
#[derive(Clone)]
pub struct PlatformOptions<'a> {
    pub listen: IpAddr,
    /// Whether those of which clients know no other port than 443 get it on an address of their own.
    pub own_addresses: bool,
    pub clock: Clock,
    pub ca: &'a LabCa,
    /// The lab's cluster, for the platform that is a cluster itself.
    pub cluster: kube::Client,
    /// Whether clusters serve exports of their VMs.
    pub exports: bool,
    pub faults: Faults,
    pub levers: Levers,
    pub sky: Sky,
    /// What there is.
    pub world: &'a World,
    /// What the lab before this one left, by part, where one is kept.
    pub kept: Option<&'a BTreeMap<String, Value>>,
}

impl PlatformOptions<'_> {
    /// What a part was when the lab before this one ended.
    pub fn before(&self, part: &str) -> Option<&Value> {
        self.kept?.get(part)
    }
}

/// A running source platform.
#[async_trait]
pub trait LabPlatform: Send + Sync {
    /// Entries of `providers.json`: name and profile.
    fn profiles(&self) -> Vec<(String, Value)>;
    /// Who runs on its VMs, so that a migrated VM answers as its source would.
    fn guests(&self) -> Arc<dyn GuestDirectory>;
    /// What the next lab goes on with, and by which name; nothing of a platform that is as it was.
    fn kept(&self) -> Option<(&'static str, Value)> {
        None
    }
    /// What differs from the start, one line each. Empty after a clean run.
    fn leftovers(&self) -> Vec<String>;
    /// Everything there is, by name, with what of it only a run's owner may change; by default what differs from
    /// the start.
    fn census(&self) -> BTreeMap<String, Value> {
        self.leftovers().into_iter().map(|line| (line, Value::Null)).collect()
    }
    /// Adds VMs of this kind of platform, as if they had been there from the start.
    fn grow(&self, _: Kind, _: &[Vm]) -> std::io::Result<()> {
        Ok(())
    }
    /// A name like `soap_requests`, and how many there were.
    fn requests(&self) -> (&'static str, u64);
    /// URLs of what it serves besides those in its profiles.
    fn further_urls(&self) -> Vec<String> {
        Vec::new()
    }
    /// Directories of its own, for somebody else to remove when the lab is killed.
    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Ends every connection and task, and waits for them.
    async fn stop(&self);
}

/// The host of a URL, as a profile names it.
fn host_of(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// The options of a platform that may listen on an address of its own.
async fn apart<'a>(options: &PlatformOptions<'a>) -> Result<PlatformOptions<'a>, LabError> {
    let mut own = options.clone();
    if options.own_addresses {
        let found = match serve::bind_https().await {
            Ok(listener) => listener.local_addr(),
            Err(error) => Err(error),
        };
        let refused = |error| LabError::Start {
            part: "addresses of their own".to_owned(),
            cause: format!(
                "port 443 of 127.0.0.2 and those behind it: {error}; without --own-addresses free ports of 127.0.0.1 are taken"
            ),
        };
        own.listen = found.map_err(refused)?.ip();
    }
    Ok(own)
}

/// Starts every platform.
pub async fn start(options: &PlatformOptions<'_>) -> Result<Vec<Box<dyn LabPlatform>>, LabError> {
    Ok(vec![
        Box::new(vsphere::platform::Vsphere::start(&apart(options).await?).await?),
        Box::new(ovirt::platform::Ovirt::start(&apart(options).await?).await?),
        Box::new(openshift::Openshift::start(options)),
        Box::new(openshift::FarOpenshift::start(options).await?),
        Box::new(ova::Ova::start(options)?),
        Box::new(hyperv::Hyperv::start(options).await?),
        Box::new(ec2::Ec2::start(options).await?),
        Box::new(openstack::platform::Openstack::start(&apart(options).await?).await?),
    ])
}

/// The guests of several platforms; MACs don't repeat between them.
pub struct AllGuests(pub Vec<Arc<dyn GuestDirectory>>);

impl GuestDirectory for AllGuests {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        self.0.iter().find_map(|directory| directory.by_mac(mac))
    }
    fn failure_by_mac(&self, mac: &str) -> Option<Option<Failure>> {
        self.0.iter().find_map(|directory| directory.failure_by_mac(mac))
    }
    fn by_name(&self, name: &str) -> Option<GuestProfile> {
        self.0.iter().find_map(|directory| directory.by_name(name))
    }
    fn by_id(&self, id: &str) -> Option<GuestProfile> {
        self.0.iter().find_map(|directory| directory.by_id(id))
    }
    fn xcopies(&self, datastore: &str) -> bool {
        self.0.iter().all(|directory| directory.xcopies(datastore))
    }
    fn host_name(&self, id: &str) -> Option<String> {
        self.0.iter().find_map(|directory| directory.host_name(id))
    }
    fn esxi(&self, host: &str) -> Option<Arc<EsxiHost>> {
        self.0.iter().find_map(|directory| directory.esxi(host))
    }
}
