//! The lab's world grows what the selected scenarios name: a VM that no world has is made from its name and
//! the scenario's keys. A name that is nearly one of the world's is taken for a slip, and refused.

use std::collections::BTreeMap;

use super::Stop;
use crate::api::world::{Kind, Sketch, Vm};
use crate::config::{Platform, PowerState, Scenario, ScenarioVm};
use crate::lab::Lab;
use crate::matrix::{Cell, Decision};

/// Slips of the pen: that many letters at most.
const SLIPS: usize = 2;

/// The kind of a platform whose VMs a world holds; OpenShift's are made by each run.
pub(super) fn kind_of(platform: Platform) -> Option<Kind> {
    match platform {
        Platform::Vsphere => Some(Kind::Vsphere),
        Platform::Ovirt => Some(Kind::Ovirt),
        Platform::Openstack => Some(Kind::Openstack),
        Platform::Ova => Some(Kind::Ova),
        Platform::Hyperv => Some(Kind::Hyperv),
        Platform::Ec2 => Some(Kind::Ec2),
        Platform::Openshift => None,
    }
}

/// The name that this one is a slip of. Where the numbers differ another VM is meant.
pub(super) fn resembled<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let own = name.to_lowercase();
    known
        .into_iter()
        .filter(|other| digits(other) == digits(name))
        .map(|other| (strsim::damerau_levenshtein(&own, &other.to_lowercase()), other))
        .filter(|(slips, _)| *slips <= SLIPS)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, other)| other)
}

/// What a scenario says of a VM that has to be made up.
fn sketch(scenario: &Scenario, vm: &ScenarioVm, name: &str) -> Sketch {
    Sketch {
        name: name.to_owned(),
        windows: vm.win_os,
        static_addresses: scenario.preserve_static_ips,
        running: vm.source_vm_power == Some(PowerState::On),
        luks: vm.luks,
    }
}

/// Adds to the lab what the cells name and it has not. Answers a line for each.
pub(super) fn grow(lab: &Lab, cells: &[Cell], strict: bool) -> Result<Vec<String>, Stop> {
    let world = lab.world();
    let mut made: BTreeMap<Kind, Vec<Vm>> = BTreeMap::new();
    let mut refused: Vec<String> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.decision == Decision::Run) {
        let Some(kind) = kind_of(cell.profile.platform) else { continue };
        let source = world.source(kind);
        for vm in &cell.scenario.virtual_machines {
            let name = cell.profile.vms.get(&vm.name).unwrap_or(&vm.name);
            let there = |vm: &Vm| vm.name == *name || vm.scenario_name() == name;
            let own = made.entry(kind).or_default();
            if source.vms.iter().chain(own.iter()).any(there) {
                continue;
            }
            let known = source.vms.iter().map(Vm::scenario_name);
            let why = match resembled(name, known) {
                Some(other) => Some(format!("; did you mean `{other}`?")),
                None => strict.then(|| "; --strict-world lets nothing be made up".to_owned()),
            };
            match why {
                Some(why) => {
                    let line =
                        format!("scenario `{}`: the lab's {} has no VM `{name}`{why}", cell.scenario.name, kind.name());
                    if !refused.contains(&line) {
                        refused.push(line);
                    }
                }
                None => {
                    let number = u8::try_from(own.len() % 200).unwrap_or_default();
                    own.push(sketch(&cell.scenario, vm, name).vm(kind, source, number));
                }
            }
        }
    }
    if !refused.is_empty() {
        refused.push("a world of your own is given by --world FILE; see docs/lab.md".to_owned());
        return Err(Stop::usage(refused.join("\n")));
    }
    let mut told = Vec::new();
    for (kind, vms) in made.into_iter().filter(|(_, vms)| !vms.is_empty()) {
        lab.grow(kind, &vms).map_err(Stop::environment)?;
        let line = |vm: &Vm| format!("made up in the lab's {}: {} ({})", kind.name(), vm.name, vm.in_words());
        told.extend(vms.iter().map(line));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_vm() {
        let known = ["mtv-tests-rhel8", "mtv-win2019-3disks", "db-prod-01"];
        assert_eq!(resembled("mtv-test-rhel8", known), Some("mtv-tests-rhel8"));
        assert_eq!(resembled("mtv-win2019-3disk", known), Some("mtv-win2019-3disks"));
        assert_eq!(resembled("MTV-tests-rhel8", known), Some("mtv-tests-rhel8"));
        for other in ["mtv-tests-rhel9", "erp-rhel9", "db-prod-02", "mtv-win2022-3disks"] {
            assert_eq!(resembled(other, known), None, "{other}");
        }
    }
}
