//! What the next lab goes on with: what somebody may have changed. Hosts, networks and datastores are those of the world that
//! it is started with; tasks and what they tell are not kept.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::World;
use super::model::{Folder, Vm};
use crate::api::world::Tools;
use crate::error::LabError;
use crate::kept;

#[derive(Serialize, Deserialize)]
struct Kept {
    vms: BTreeMap<String, Vm>,
    folders: BTreeMap<String, Folder>,
    files: BTreeMap<String, BTreeMap<String, String>>,
    shared: BTreeMap<String, BTreeMap<String, String>>,
    last_id: u64,
}

const PART: &str = "vSphere";

impl World {
    pub fn kept(&self) -> Value {
        self.read(|state| {
            let shared = state.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut vms: BTreeMap<String, Vm> = (*state.vms).clone();
            // Who boots now has booted then: nobody sees it end.
            vms.values_mut().for_each(|vm| vm.tools_running = vm.powered_on && vm.os.tools == Tools::Running);
            let own = Kept {
                vms,
                folders: (*state.folders).clone(),
                files: state.files.clone(),
                shared,
                last_id: state.last_id,
            };
            kept::written(PART, &own)
        })
    }

    /// Goes on where another one ended.
    pub fn restore(&self, from: &Value) -> Result<(), LabError> {
        let kept: Kept = kept::read(PART, from)?;
        self.change(|state| {
            for id in state.vms.keys().cloned().collect::<Vec<_>>() {
                state.vms.remove(&id);
            }
            for id in state.folders.keys().cloned().collect::<Vec<_>>() {
                state.folders.remove(&id);
            }
            kept.vms.into_iter().for_each(|(id, vm)| state.vms.insert(id, vm));
            kept.folders.into_iter().for_each(|(id, folder)| state.folders.insert(id, folder));
            state.files = kept.files;
            *state.shared.lock().unwrap_or_else(PoisonError::into_inner) = kept.shared;
            state.last_id = kept.last_id;
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::world::World as Told;

    #[test]
    fn the_next_world_has_the_vms_as_they_were_left() {
        let source = Told::shipped().unwrap().vsphere;
        let world = World::new(&source);
        let (gone, changed) = world.change(|state| {
            let ids: Vec<String> = state.vms.keys().cloned().collect();
            state.vms.remove(&ids[0]);
            let vm = state.vms.get_mut(&ids[1]).unwrap();
            vm.powered_on = !vm.powered_on;
            vm.tools_running = false;
            vm.busy = Some("task-1".to_owned());
            let (gone, changed) = (ids[0].clone(), (ids[1].clone(), vm.powered_on));
            state.files.insert(ids[1].clone(), BTreeMap::from([("/a".to_owned(), "b".to_owned())]));
            state.fresh_id("vm");
            (gone, changed)
        });
        let next = World::new(&source);
        next.restore(&world.kept()).unwrap();
        next.read(|state| {
            assert!(!state.vms.contains_key(&gone));
            let vm = &state.vms[&changed.0];
            assert_eq!((vm.powered_on, &vm.busy), (changed.1, &None));
            assert_eq!(vm.tools_running, vm.powered_on && vm.os.tools == Tools::Running);
            assert_eq!(state.files[&changed.0]["/a"], "b");
            assert_eq!(state.last_id, world.read(|state| state.last_id));
        });
        assert!(next.restore(&serde_json::json!({"vms": 1})).is_err());
    }
}
