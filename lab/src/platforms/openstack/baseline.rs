//! What the cloud was at the start, to say what was left behind.

use std::collections::BTreeMap;

use super::model::State;

/// One line a thing: its id, and everything of it that must not change.
pub(super) struct Baseline(BTreeMap<String, String>);

fn marks(state: &State) -> BTreeMap<String, String> {
    let servers = state.servers.values().map(|s| {
        let volumes: Vec<&str> = s.volumes.iter().map(|v| v.volume.as_str()).collect();
        (s.id.clone(), format!("server {} {} with volumes {volumes:?} and ports {:?}", s.name, s.status, s.ports))
    });
    let volumes =
        state.volumes.values().map(|v| (v.id.clone(), format!("volume {} {} {} GiB", v.name, v.status, v.size)));
    let snapshots =
        state.snapshots.values().map(|s| (s.id.clone(), format!("snapshot {} of volume {}", s.name, s.volume)));
    let images = state.images.values().map(|i| (i.id.clone(), format!("image {}", i.name)));
    let ports = state.ports.values().map(|p| (p.id.clone(), format!("port {} {} of {}", p.name, p.mac, p.device)));
    let keys = state.keypairs.values().map(|k| (format!("key pair {}", k.id), format!("key pair {}", k.name)));
    servers.chain(volumes).chain(snapshots).chain(images).chain(ports).chain(keys).collect()
}

impl Baseline {
    pub(super) fn of(state: &State) -> Self {
        Self(marks(state))
    }

    pub(super) fn diff(&self, state: &State) -> Vec<String> {
        let now = marks(state);
        let mut found = Vec::new();
        for (id, mark) in &now {
            match self.0.get(id) {
                None => found.push(format!("{mark} ({id}) is left over")),
                Some(before) if before != mark => found.push(format!("{before} ({id}) is now {mark}")),
                Some(_) => {}
            }
        }
        let gone = self.0.iter().filter(|(id, _)| !now.contains_key(*id));
        found.extend(gone.map(|(id, mark)| format!("{mark} ({id}) is gone")));
        found
    }
}
