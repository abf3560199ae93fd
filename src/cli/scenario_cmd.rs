//! `mtv-matrix scenario check` and `scenario new`: scenario files judged without running anything, and begun.
//!
//! For editors and pre-commit: everything that is wrong at once, a line each that begins with `FILE:LINE:`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::args::{ScenarioCommand, SkeletonKind};
use super::grow::{kind_of, resembled};
use super::{Stop, common, exit, print_text};
use crate::api::world::{Kind, Vm, World};
use crate::config::load::{ScenarioFiles, scenario_files};
use crate::config::{Platform, Scenario, nearest};
use crate::matrix::support;

pub(super) fn run(command: &ScenarioCommand) -> Result<u8, Stop> {
    match command {
        ScenarioCommand::Check { files, world } => check(files, world.as_deref()),
        ScenarioCommand::New { kind, out } => new(*kind, out.as_deref()),
        ScenarioCommand::Import { file, out } => super::import_cmd::run(file, out.as_deref()),
    }
}

fn check(files: &[PathBuf], world: Option<&Path>) -> Result<u8, Stop> {
    let own = world.map(common::world).transpose()?.map(|world| *world);
    let shipped = World::shipped().map_err(Stop::environment)?;
    let read = scenario_files(files);
    let (problems, told) = judge(&read, own.as_ref(), &shipped);
    for line in &told {
        super::show::out(line);
    }
    for line in read.warnings.iter().map(|line| format!("warning: {line}")).chain(problems.iter().cloned()) {
        super::show::err(format_args!("{line}"));
    }
    Ok(if problems.is_empty() { exit::PASSED } else { exit::USAGE })
}

/// What is wrong, and a line for each scenario that is right.
fn judge(read: &ScenarioFiles, own: Option<&World>, shipped: &World) -> (Vec<String>, Vec<String>) {
    let mut problems: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
    let mut told = Vec::new();
    for scenario in read.scenarios.values() {
        problems.extend(scenario.refused.iter().cloned());
        let place = read.places.get(&scenario.name).map(ToString::to_string).unwrap_or_default();
        let (can, not) = by_platform(scenario);
        let mut wrong: Vec<String> = Vec::new();
        if can.is_empty() {
            let why: BTreeSet<&str> = not.iter().map(|(_, why)| why.as_str()).collect();
            wrong.push(format!("no platform can run it: {}", why.into_iter().collect::<Vec<_>>().join("; ")));
        }
        wrong.extend(asked_in_vain(scenario, &not));
        wrong.extend(vms(scenario, &can, own, shipped));
        if wrong.is_empty() && scenario.refused.is_empty() {
            told.push(right(scenario, &can, &not));
        }
        problems.extend(wrong.into_iter().map(|why| format!("{place}: scenario `{}`: {why}", scenario.name)));
    }
    (problems, told)
}

/// The platforms that can run it, and the others with the reason.
fn by_platform(scenario: &Scenario) -> (Vec<Platform>, Vec<(Platform, String)>) {
    let (mut can, mut not) = (Vec::new(), Vec::new());
    for platform in Platform::ALL {
        match support::reason_on(platform, scenario) {
            Some(why) => not.push((platform, why)),
            None => can.push(platform),
        }
    }
    (can, not)
}

/// A platform that the scenario names and that can't run it.
fn asked_in_vain(scenario: &Scenario, not: &[(Platform, String)]) -> Vec<String> {
    let named = not.iter().filter(|(platform, _)| scenario.requires.platforms.contains(platform));
    named.map(|(platform, why)| format!("`requires.platforms` names {platform}, and {why}")).collect()
}

/// VMs that no world has: with a world, those that it lacks wherever the scenario can run; without one, names
/// that are nearly one of the shipped world's, because the lab makes the others up.
fn vms(scenario: &Scenario, can: &[Platform], own: Option<&World>, shipped: &World) -> Vec<String> {
    let kinds: Vec<Kind> = can.iter().filter_map(|platform| kind_of(*platform)).collect();
    // A run on OpenShift makes its VMs itself: of one that can run nowhere else no world is asked.
    if kinds.is_empty() {
        return Vec::new();
    }
    let world = own.unwrap_or(shipped);
    let mut wrong = Vec::new();
    for vm in &scenario.virtual_machines {
        let names: Vec<&str> =
            kinds.iter().flat_map(|kind| world.source(*kind).vms.iter().map(Vm::scenario_name)).collect();
        if names.contains(&vm.name.as_str()) {
            continue;
        }
        let slip = resembled(&vm.name, names.iter().copied());
        let why = match (own, slip) {
            (Some(_), slip) => {
                let near = slip.or_else(|| nearest(&vm.name, names.iter().copied()));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                Some(format!("the world has no VM `{}`{hint}", vm.name))
            }
            (None, Some(near)) => {
                let name = &vm.name;
                Some(format!(
                    "there is no VM `{name}`; did you mean `{near}`? If it is one of yours, give --world FILE"
                ))
            }
            (None, None) => None,
        };
        wrong.extend(why);
    }
    wrong
}

/// `ok  NAME: vsphere, ovirt; not openstack (why)`.
fn right(scenario: &Scenario, can: &[Platform], not: &[(Platform, String)]) -> String {
    let names: Vec<&str> = can.iter().map(|platform| platform.name()).collect();
    // What a scenario excludes itself needs no reason.
    let own = &scenario.requires.platforms;
    let others = not.iter().filter(|(platform, _)| own.is_empty() || own.contains(platform));
    let others: Vec<String> = others.map(|(platform, why)| format!("\n      not {platform}: {why}")).collect();
    format!("ok    {}: {}{}", scenario.name, names.join(", "), others.concat())
}

/// The text of a skeleton.
fn skeleton(kind: SkeletonKind) -> Result<&'static str, Stop> {
    match kind {
        SkeletonKind::Cold => Ok(include_str!("skeletons/cold.yaml")),
        SkeletonKind::Warm => Ok(include_str!("skeletons/warm.yaml")),
        SkeletonKind::Hooks => Ok(include_str!("skeletons/hooks.yaml")),
        SkeletonKind::Lifecycle => Ok(include_str!("skeletons/lifecycle.yaml")),
        SkeletonKind::Copyoffload => Ok(include_str!("skeletons/copyoffload.yaml")),
    }
}

fn new(kind: SkeletonKind, out: Option<&Path>) -> Result<u8, Stop> {
    let text = skeleton(kind)?;
    let Some(path) = out else {
        print_text(text);
        return Ok(exit::PASSED);
    };
    let failed = |error: std::io::Error| Stop::usage(format!("{}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    // A file of that name is somebody's.
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(exit::PASSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::scenario_texts;

    fn judged(text: &str, own: Option<&World>) -> (Vec<String>, Vec<String>) {
        judge(&scenario_texts(&[("s.yaml".to_owned(), text.to_owned())]), own, &World::shipped().unwrap())
    }

    #[test]
    fn every_skeleton_passes_its_own_check() {
        let kinds = [SkeletonKind::Cold, SkeletonKind::Warm, SkeletonKind::Hooks, SkeletonKind::Lifecycle];
        for kind in kinds {
            let (problems, told) = judged(skeleton(kind).ok().unwrap(), None);
            assert_eq!((problems, told.len()), (Vec::new(), 1), "{kind:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_all_at_once() {
        let text = "a:\n  virtual_machines: [{name: mtv-test-rhel8}]\nb:\n  virtual_machines: [{name: x}]\n  warm_migration: true\n  requires: {platforms: [openstack]}\nc:\n  virtual_machines: [{name: x}]\n  warm: true\n";
        let (problems, told) = judged(text, None);
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(
            problems[0].starts_with(
                "s.yaml:1: scenario `a`: there is no VM `mtv-test-rhel8`; did you mean `mtv-tests-rhel8`?"
            )
        );
        assert!(problems[1].starts_with("s.yaml:3: scenario `b`: no platform can run it: "), "{}", problems[1]);
        assert!(
            problems[2].starts_with("s.yaml:3: scenario `b`: `requires.platforms` names openstack"),
            "{}",
            problems[2]
        );
        assert!(problems[3].starts_with("s.yaml:9: scenario `c`: `warm` is not a scenario key"), "{}", problems[3]);
        assert!(told.is_empty());
    }

    #[test]
    fn with_a_world_a_vm_that_it_has_not_is_wrong() {
        let mut world = World::shipped().unwrap();
        world.vsphere.vms.push(Vm { name: "erp-db".to_owned(), ..world.vsphere.vms[0].clone() });
        let text = |name: &str| format!("a:\n  warm_migration: true\n  virtual_machines: [{{name: {name}}}]\n");
        assert_eq!(judged(&text("erp-db"), Some(&world)).0, Vec::<String>::new());
        let (problems, _) = judged(&text("erp-dbs"), Some(&world));
        assert!(problems[0].ends_with("the world has no VM `erp-dbs`; did you mean `erp-db`?"), "{problems:?}");
        assert_eq!(judged(&text("erp-web"), None).0, Vec::<String>::new(), "the lab makes it up");
    }
}
