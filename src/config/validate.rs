//! What a scenario must hold beyond its types.

use base64::Engine as _;

use super::node;
use super::scenarios::steps::order;
use super::scenarios::{Destination, DiskController, HookPlan, PowerState, Scenario, plans};

/// Complaints as (path inside the scenario, sentence).
pub(crate) fn scenario(name: &str, s: &Scenario) -> Vec<(Vec<String>, String)> {
    let mut out = Vec::new();
    let mut say = |path: &[&str], text: String| out.push((path.iter().map(|p| (*p).to_owned()).collect(), text));
    let good_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(good_name) {
        say(&[], "a scenario's name is made of letters, digits, `_`, `-` and `.`".into());
    }
    if s.virtual_machines.is_empty() {
        say(&["virtual_machines"], "`virtual_machines` is empty: a scenario needs at least one VM".into());
    }
    for (n, vm) in s.virtual_machines.iter().enumerate() {
        let n = n.to_string();
        if vm.name.trim().is_empty() {
            say(&["virtual_machines", &n, "name"], "a VM without a name".into());
        }
        if s.preserve_static_ips && vm.source_vm_power != Some(PowerState::On) {
            let text = format!(
                "`preserve_static_ips` needs `source_vm_power: \"on\"` on VM `{}`: a VM that is off does not tell its addresses",
                vm.name
            );
            say(&["virtual_machines", &n], text);
        }
        if s.live_migration && vm.source_vm_power != Some(PowerState::On) {
            let text =
                format!("`live_migration` needs `source_vm_power: \"on\"` on VM `{}`: MTV moves what runs", vm.name);
            say(&["virtual_machines", &n], text);
        }
        let shares = vm.migrate_shared_disks.is_some();
        if shares && s.virtual_machines.iter().filter(|vm| vm.migrate_shared_disks == Some(true)).count() != 1 {
            say(&["virtual_machines", &n], "of VMs that share disks one has `migrate_shared_disks: true`".to_owned());
        }
        if vm.add_nic && vm.add_nic_start_connected.is_none() {
            let text = "`add_nic` needs `add_nic_start_connected`: true or false".to_owned();
            say(&["virtual_machines", &n], text);
        }
        if vm.luks_passphrase.is_some() && !vm.luks {
            say(&["virtual_machines", &n], "`luks_passphrase` opens nothing without `luks: true`".to_owned());
        }
        for (d, disk) in vm.add_disks.iter().enumerate() {
            let path = ["virtual_machines", &n, "add_disks", &d.to_string()];
            if disk.rdm_type.is_some() && disk.controller.is_some_and(|it| it != DiskController::Scsi) {
                say(&path, format!("a raw device mapping of VM `{}` hangs on a SCSI controller", vm.name));
            }
            if disk.rdm_type.is_none() && disk.size_gb.is_none_or(|gb| gb == 0) {
                say(&path, format!("`size_gb` is required for an added disk of VM `{}` unless it is an RDM", vm.name));
            }
        }
    }
    if s.live_migration && s.has_warm() {
        say(&["live_migration"], "a live migration has no precopies: leave `warm_migration` out".into());
    }
    if s.use_compatibility_mode.is_some() && !s.skip_guest_conversion {
        let text =
            "`use_compatibility_mode` is for disks that are not converted: set `skip_guest_conversion: true`, too";
        say(&["use_compatibility_mode"], text.into());
    }
    if s.target_node_selector.len() > 1 {
        say(&["target_node_selector"], "`target_node_selector` has at most one entry".into());
    }
    for (key, hook) in [("pre_hook", &s.pre_hook), ("post_hook", &s.post_hook)] {
        if let Some(text) = hook.as_ref().and_then(|h| hook_complaint(key, h)) {
            say(&[key], text);
        }
    }
    let required = [
        ("requires.min_mtv_version", s.requires.min_mtv_version.as_ref()),
        ("requires.before_mtv_version", s.requires.before_mtv_version.as_ref()),
    ];
    for (key, version) in
        required.into_iter().chain(s.known_issues.iter().map(|i| ("known_issues.fixed_in", i.fixed_in.as_ref())))
    {
        if version.is_some_and(|v| v.split('.').any(|p| p.parse::<u32>().is_err())) {
            say(&[key.split('.').next().unwrap_or(key)], format!("`{key}` is a version such as 2.10"));
        }
    }
    if s.limited_destination.is_some() && s.destination != Destination::Remote {
        say(&["limited_destination"], "`limited_destination` is one that is `destination: remote`".to_owned());
    }
    out.extend(plans::complaints(s));
    out.extend(order::complaints(s));
    out
}

fn hook_complaint(key: &str, hook: &HookPlan) -> Option<String> {
    match (&hook.expected_result, &hook.playbook_base64, hook.aap_job_template_id) {
        (Some(_), None, None) => None,
        (None, Some(text), None) => playbook_complaint(key, text),
        (None, None, Some(1..)) => None,
        (None, None, Some(0)) => {
            Some(format!("`{key}.aap_job_template_id` is the number of a job template, from 1 on"))
        }
        _ => {
            Some(format!("`{key}` needs exactly one of `expected_result`, `playbook_base64` and `aap_job_template_id`"))
        }
    }
}

fn playbook_complaint(key: &str, text: &str) -> Option<String> {
    let key = format!("`{key}.playbook_base64`");
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else {
        return Some(format!("{key} is not base64"));
    };
    let Ok(playbook) = String::from_utf8(bytes) else {
        return Some(format!("{key} is not UTF-8 text"));
    };
    match node::parse_yaml(&playbook).map(|n| n.data) {
        Ok(node::Data::Seq(plays)) if !plays.is_empty() => None,
        _ => Some(format!("{key} is not a YAML list of plays")),
    }
}
