//! What a run's lab can make go wrong while a story is told: the door to it, which only the command line can open.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Platform;
use crate::config::steps::Faulty;

/// A lab's levers.
pub trait Levers: Send + Sync {
    /// Whether it can play this for a source of this platform.
    fn plays(&self, what: Faulty, platform: Platform) -> bool;
    /// It goes wrong from now on; `lasts`: so long by the lab's clock, then it is right again by itself. `macs`: only for
    /// the VMs that have these adapters; empty: for all.
    fn pull(&self, what: Faulty, platform: Platform, lasts: Option<Duration>, macs: &[String]);
    /// It is set right again. Nothing where it is.
    fn release(&self, what: Faulty, platform: Platform);
}

/// What a cell has pulled; set right again when this is dropped, however its story ended.
pub(super) struct Pulled {
    levers: Option<Arc<dyn Levers>>,
    platform: Platform,
    pulled: Vec<Faulty>,
}

impl Pulled {
    pub fn new(levers: Option<Arc<dyn Levers>>, platform: Platform) -> Self {
        Self { levers, platform, pulled: Vec::new() }
    }

    pub fn pull(&mut self, what: Faulty, lasts: Option<Duration>, macs: &[String]) {
        if let Some(levers) = &self.levers {
            levers.pull(what, self.platform, lasts, macs);
            self.pulled.push(what);
        }
    }

    pub fn release(&mut self, what: Faulty) {
        if let Some(levers) = &self.levers {
            levers.release(what, self.platform);
            self.pulled.retain(|pulled| *pulled != what);
        }
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        for what in std::mem::take(&mut self.pulled) {
            self.release(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Fake(Mutex<Vec<String>>);

    impl Levers for Fake {
        fn plays(&self, _: Faulty, _: Platform) -> bool {
            true
        }
        fn pull(&self, what: Faulty, _: Platform, _: Option<Duration>, _: &[String]) {
            self.0.lock().unwrap().push(format!("{what:?} pulled"));
        }
        fn release(&self, what: Faulty, _: Platform) {
            self.0.lock().unwrap().push(format!("{what:?} released"));
        }
    }

    #[test]
    fn what_a_story_leaves_wrong_is_set_right_when_it_ends() {
        let fake = Arc::new(Fake::default());
        let mut pulled = Pulled::new(Some(fake.clone()), Platform::Vsphere);
        pulled.pull(Faulty::Conversion, None, &[]);
        pulled.release(Faulty::Conversion);
        pulled.pull(Faulty::DatastoreFull, None, &[]);
        drop(pulled);
        let said = ["Conversion pulled", "Conversion released", "DatastoreFull pulled", "DatastoreFull released"];
        assert_eq!(*fake.0.lock().unwrap(), said);
    }
}
