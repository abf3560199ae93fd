//! `mtv-matrix list --explain`: a scenario's story in words, every default filled in. No cluster is asked.

use std::fmt::Write as _;

use crate::config::scenarios::Destination;
use crate::config::steps::story::chapters;
use crate::config::{ExpectedResult, HookPlan, PowerState, Scenario, ScenarioVm, Settings, duration};
use crate::event::Stage;

/// The story of one scenario under these settings.
pub fn story(scenario: &Scenario, settings: &Settings) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!("{}: {}", scenario.name, scenario.description));
    line(format!(
        "  tags: {}{}",
        listed(&scenario.tags),
        if scenario.opt_in { "; runs only where it is named" } else { "" }
    ));
    line(format!("  runs {}", place(scenario)));
    for (n, vm) in scenario.virtual_machines.iter().enumerate() {
        line(format!("  VM {}: {}", n + 1, of_vm(vm)));
    }
    for part in scenario.parts() {
        let options = options(&part.scenario, settings).join("; ");
        match &part.name {
            None => line(format!("  Plan: {options}")),
            Some(name) => {
                let vms: Vec<String> = part.members.iter().map(|place| (place + 1).to_string()).collect();
                line(format!("  Plan {name}: VM {}; {options}", vms.join(", ")));
            }
        }
    }
    let timeouts = &settings.timeouts;
    let show = duration::show;
    line(format!(
        "  prepare: clone the VMs, switch them, wait until MTV knows them (at most {})",
        show(timeouts.prepare)
    ));
    line(format!("  storage-map: make it, wait until it is Ready (at most {})", show(timeouts.storage_map)));
    line(format!("  network-map: likewise (at most {})", show(timeouts.network_map)));
    for chapter in chapters(scenario, settings.boot) {
        line(format!("  {}:", chapter.stage));
        for told in &chapter.steps {
            let (limit, set_by) = told.step.deadline(timeouts);
            let number = told.number.map_or_else(|| "-".to_owned(), |number| format!("{number}."));
            line(format!("    {number:<3} {} (at most {}, {set_by})", told.step, show(limit)));
        }
    }
    let teardown = show(timeouts.teardown);
    line(format!("  {}: remove everything that was made, however it ended (at most {teardown})", Stage::Teardown));
    out
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn place(scenario: &Scenario) -> String {
    let to = match scenario.destination {
        Destination::Local => "to the cluster that MTV runs on",
        Destination::Remote if scenario.limited_destination.is_some() => {
            "to an explicit OpenShift Provider, with URL and the token of an account of few rights"
        }
        Destination::Remote => "to an explicit OpenShift Provider with URL and token",
    };
    let platforms: Vec<&str> = scenario.requires.platforms.iter().map(|platform| platform.name()).collect();
    let from = if platforms.is_empty() { "every platform that can".to_owned() } else { platforms.join(", ") };
    let requires = &scenario.requires;
    let from_on = requires.min_mtv_version.as_ref().map(|v| format!(", MTV {v} or later"));
    let before = requires.before_mtv_version.as_ref().map(|v| format!(", MTV before {v}"));
    let version = [from_on, before].into_iter().flatten().collect::<String>();
    format!("from {from} {to}{version}")
}

fn of_vm(vm: &ScenarioVm) -> String {
    let power = vm.source_vm_power.map_or("as its clone is made", PowerState::name);
    let mut parts = vec![format!("a clone of {}, power {power}", vm.name)];
    if vm.guest_agent {
        parts.push("its guest agent is waited for".to_owned());
    }
    if !vm.add_disks.is_empty() {
        parts.push(format!("{} added disks", vm.add_disks.len()));
    }
    if vm.snapshots > 0 {
        parts.push(format!("{} snapshots", vm.snapshots));
    }
    parts.join(", ")
}

fn options(scenario: &Scenario, settings: &Settings) -> Vec<String> {
    let mut parts = vec![if scenario.warm_migration { warm(scenario, settings) } else { "cold".to_owned() }];
    parts.push(match scenario.target_power_state {
        Some(state) => format!("migrated VMs end {}", state.name()),
        None => "migrated VMs end as their sources were".to_owned(),
    });
    parts.push(
        if scenario.preserve_static_ips { "static addresses are kept" } else { "static addresses are not kept" }
            .to_owned(),
    );
    parts.extend(scenario.pvc_name_template.as_ref().map(|template| format!("PVCs are named by `{template}`")));
    for (what, hook) in [("pre", &scenario.pre_hook), ("post", &scenario.post_hook)] {
        parts.extend(hook.as_ref().map(|hook| format!("{what}-hook {}", of_hook(hook))));
    }
    parts.push(match scenario.expected_migration_result {
        ExpectedResult::Succeed => "`migrate` expects success".to_owned(),
        ExpectedResult::Fail => "`migrate` expects a failure".to_owned(),
    });
    parts
}

fn of_hook(hook: &HookPlan) -> String {
    match (hook.expected_result, hook.aap_job_template_id) {
        (Some(ExpectedResult::Succeed), _) => "that succeeds".to_owned(),
        (Some(ExpectedResult::Fail), _) => "that fails".to_owned(),
        (None, Some(id)) => format!("that is job template {id} of the Automation Platform"),
        (None, None) => "with a playbook of the scenario's own".to_owned(),
    }
}

fn warm(scenario: &Scenario, settings: &Settings) -> String {
    let interval = settings.snapshots_interval;
    let cutover = scenario.cutover.with(settings);
    let mut when: Vec<String> =
        cutover.after_precopies.map(|count| format!("after {count} precopies")).into_iter().collect();
    when.extend(cutover.minutes.map(|minutes| format!("{minutes} minutes after the start")));
    format!("warm, a precopy every {interval} minutes, `migrate` cuts over {}", when.join(" or "))
}
