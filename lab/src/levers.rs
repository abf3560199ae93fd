//! Levers: what somebody can make go wrong while the lab runs, and set right again.
//!
//! A fault of the wire is by rate and seed, weather is there from the start; a lever is moved by a story, at its time.
//! This room knows what is off and since when; each part of the lab reads the levers that it obeys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::world::Failure;
use crate::clock::Clock;
use crate::esxi::EsxiHost;
use crate::faults::Faults;
use crate::ports::{GuestDirectory, GuestProfile};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lever {
    /// Nobody reaches the source: its connections are cut, new ones are refused.
    SourceNetwork,
    /// The source refuses every login and ends its sessions (vSphere).
    SourceLogin,
    /// No datastore of the source has room for another snapshot (vSphere).
    DatastoreFull,
    /// virt-v2v fails on whatever it converts.
    Conversion,
}

/// A cut endpoint comes back at a time of its own; this is later than any lab lives.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// A lever that is pulled.
struct Pull {
    /// Where it ends by itself.
    until: Option<Instant>,
    /// In small letters; empty: it is about every VM.
    macs: Vec<String>,
}

/// All levers of a lab.
#[derive(Clone)]
pub struct Levers {
    pulled: Arc<Mutex<BTreeMap<Lever, Pull>>>,
    faults: Faults,
    clock: Clock,
}

impl Levers {
    pub(crate) fn new(faults: Faults, clock: Clock) -> Self {
        Self { pulled: Arc::default(), faults, clock }
    }

    /// None of a lab: nothing is ever pulled.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new(Faults::default(), Clock::new(1.0))
    }

    /// Something goes wrong from now on, for so long by the lab's clock, or until [`Levers::release`].
    /// `platform`: the source that it is about, by its type (`vsphere` …). `macs`: only for VMs with these adapters.
    pub fn pull(&self, lever: Lever, platform: &str, lasts: Option<Duration>, macs: &[String]) {
        let real = lasts.map(|simulated| self.clock.real(simulated));
        if lever == Lever::SourceNetwork {
            self.faults.outage(platform, real.unwrap_or(FOREVER));
        }
        let macs = macs.iter().map(|mac| mac.to_lowercase()).collect();
        self.locked().insert(lever, Pull { until: real.map(|real| Instant::now() + real), macs });
    }

    /// It is set right again.
    pub fn release(&self, lever: Lever, platform: &str) {
        if lever == Lever::SourceNetwork {
            self.faults.outage(platform, Duration::ZERO);
        }
        self.locked().remove(&lever);
    }

    /// Whether it is pulled now.
    pub(crate) fn is_pulled(&self, lever: Lever) -> bool {
        self.is_pulled_for(lever, &[])
    }

    /// Whether it is pulled now for the VM with these adapters.
    fn is_pulled_for(&self, lever: Lever, macs: &[&str]) -> bool {
        self.locked().get(&lever).is_some_and(|pull| {
            let named = |mac: &&str| pull.macs.iter().any(|own| own.eq_ignore_ascii_case(mac));
            let now = pull.until.is_none_or(|until| Instant::now() < until);
            now && (pull.macs.is_empty() || macs.iter().any(named))
        })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Lever, Pull>> {
        // Whole entries are put in, so one from a thread that panicked is as good.
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guests of the lab, none of whom can be converted while [`Lever::Conversion`] is pulled.
pub(crate) struct Levered<D> {
    inner: D,
    levers: Levers,
}

impl<D> Levered<D> {
    pub fn new(inner: D, levers: Levers) -> Self {
        Self { inner, levers }
    }

    /// How the conversion of a guest fails now, if it does.
    fn failure(&self, guest: &GuestProfile) -> Option<Failure> {
        let macs: Vec<&str> = guest.nics.iter().map(|nic| nic.mac.as_str()).collect();
        self.levers.is_pulled_for(Lever::Conversion, &macs).then(|| Failure {
            at: "ImageConversion".to_owned(),
            // In MTV's words.
            error: "Guest conversion failed. See pod logs for details.".to_owned(),
        })
    }

    /// virt-v2v knows its VM by name alone: whose guest it is the adapters tell.
    fn with(&self, guest: Option<GuestProfile>) -> Option<GuestProfile> {
        let mut guest = guest?;
        if let Some(failure) = self.failure(&guest) {
            guest.fails = Some(failure);
        }
        Some(guest)
    }
}

impl<D: GuestDirectory> GuestDirectory for Levered<D> {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        self.with(self.inner.by_mac(mac))
    }
    fn failure_by_mac(&self, mac: &str) -> Option<Option<Failure>> {
        // Which adapters it has beside this one counts only then.
        if self.levers.locked().contains_key(&Lever::Conversion) {
            return self.by_mac(mac).map(|guest| guest.fails);
        }
        self.inner.failure_by_mac(mac)
    }
    fn by_name(&self, name: &str) -> Option<GuestProfile> {
        self.with(self.inner.by_name(name))
    }
    fn by_id(&self, id: &str) -> Option<GuestProfile> {
        self.with(self.inner.by_id(id))
    }
    fn xcopies(&self, datastore: &str) -> bool {
        self.inner.xcopies(datastore)
    }
    fn host_name(&self, id: &str) -> Option<String> {
        self.inner.host_name(id)
    }
    fn esxi(&self, host: &str) -> Option<Arc<EsxiHost>> {
        self.inner.esxi(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl GuestDirectory for One {
        fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
            let nic = crate::ports::GuestNic {
                name: "eth0".to_owned(),
                mac: mac.to_owned(),
                addresses: Vec::new(),
                is_static: false,
                gateway: None,
                dns: Vec::new(),
            };
            Some(GuestProfile {
                windows: false,
                hostname: "h".to_owned(),
                pretty_name: String::new(),
                users: Vec::new(),
                nics: vec![nic],
                files: BTreeMap::new(),
                fails: None,
                luks: None,
                shared: None,
            })
        }
        fn by_name(&self, name: &str) -> Option<GuestProfile> {
            self.by_mac(if name == "bad" { "00:50:56:00:00:01" } else { "00:50:56:00:00:02" })
        }
    }

    #[tokio::test]
    async fn a_conversion_fails_for_the_vm_with_the_named_adapter_however_it_is_asked_for() {
        let levers = Levers::none();
        let guests = Levered::new(One, levers.clone());
        levers.pull(Lever::Conversion, "vsphere", None, &["00:50:56:00:00:01".to_owned()]);
        let fails = |guest: Option<GuestProfile>| guest.is_some_and(|guest| guest.fails.is_some());
        assert!(fails(guests.by_name("bad")) && fails(guests.by_mac("00:50:56:00:00:01")));
        assert!(!fails(guests.by_name("good")) && !fails(guests.by_mac("00:50:56:00:00:02")));
        let waits = |mac: &str| guests.failure_by_mac(mac).is_some_and(|failure| failure.is_some());
        assert!(waits("00:50:56:00:00:01") && !waits("00:50:56:00:00:02"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lever_is_off_until_it_is_pulled_and_comes_back_by_itself_or_by_hand() {
        let levers = Levers::new(Faults::default(), Clock::new(60.0));
        assert!(!levers.is_pulled(Lever::DatastoreFull));
        levers.pull(Lever::DatastoreFull, "vsphere", Some(Duration::from_secs(600)), &[]);
        levers.pull(Lever::SourceLogin, "vsphere", None, &[]);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(levers.is_pulled(Lever::DatastoreFull) && levers.is_pulled(Lever::SourceLogin));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!levers.is_pulled(Lever::DatastoreFull), "ten minutes of the lab are ten seconds here");
        assert!(levers.is_pulled(Lever::SourceLogin));
        levers.release(Lever::SourceLogin, "vsphere");
        assert!(!levers.is_pulled(Lever::SourceLogin));
    }
}
