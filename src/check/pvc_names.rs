//! PVC names follow the Plan's template (peer.md §7.5, forklift.md §6.4).

use std::collections::BTreeMap;

use crate::api::names::MAX_LABEL;
use crate::api::vm::{SourceDisk, TargetVm};
use crate::config::Platform;
use crate::event::Outcome;

use super::storage::pairs;
use super::template::{self, TemplateError, Value};
use super::{Facts, Judgement, failed, major_minor, not_judged, part, passed, whole};

/// What the API server keeps of a `generateName`.
const GENERATE_NAME_KEEPS: usize = 58;
/// What it appends.
const GENERATED_CHARS: usize = 5;
/// First MTV whose `.VmName` is the source's own name.
const ORIGINAL_VM_NAME: (u32, u32) = (2, 10);
/// First MTV that takes a template for an OpenShift source; it ignores `generateName`.
const OPENSHIFT_TEMPLATES: (u32, u32) = (2, 11);
/// First MTV whose default for an OpenShift source is an exact name.
const OPENSHIFT_EXACT_DEFAULT: (u32, u32) = (2, 13);

pub(super) fn applies(facts: &Facts<'_>) -> bool {
    facts.scenario.pvc_name_template.is_some()
}

/// The name that one disk's PVC must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Exact(String),
    /// Then five generated characters.
    Prefix(String),
}

impl Expected {
    fn fits(&self, pvc: &str) -> bool {
        match self {
            Self::Exact(name) => name == pvc,
            Self::Prefix(prefix) => pvc.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                // MTV puts a dash between the two where there is room.
                let generated = rest.strip_prefix('-').unwrap_or(rest);
                generated.len() == GENERATED_CHARS
                    && generated.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            }),
        }
    }
    fn text(&self) -> String {
        match self {
            Self::Exact(name) => name.clone(),
            Self::Prefix(prefix) => format!("{prefix} and {GENERATED_CHARS} generated characters"),
        }
    }
}

fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

/// Turns a rendered template into the expected name, or says why there is none.
pub(super) fn expected(rendered: &str, generate_name: bool) -> Result<Expected, Outcome> {
    let rendered = rendered.trim();
    if rendered.is_empty() {
        return Err(failed("a PVC name", "the template renders an empty name"));
    }
    let label = rendered.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !rendered.starts_with('-');
    if !label {
        return Err(not_judged(format!(
            "the template renders {rendered:?}, which is no DNS label: MTV then uses its built-in name"
        )));
    }
    Ok(if generate_name {
        Expected::Prefix(cut(rendered, GENERATE_NAME_KEEPS))
    } else {
        Expected::Exact(cut(rendered.trim_end_matches('-'), MAX_LABEL))
    })
}

/// Whether MTV lets the API server complete the name; its default where the Plan does not say.
/// For a cluster's VMs it depends on the release (forklift.md §6.4).
fn generates(facts: &Facts<'_>) -> Result<bool, Outcome> {
    let asked = facts.scenario.pvc_name_template_use_generate_name;
    if facts.platform != Platform::Openshift {
        return Ok(asked.unwrap_or(true));
    }
    match facts.mtv_version.and_then(major_minor) {
        None => Err(not_judged("the MTV version, which decides how an OpenShift VM's PVCs are named, is unknown")),
        Some(mtv) if mtv < OPENSHIFT_TEMPLATES => {
            Err(not_judged("this MTV names an OpenShift VM's PVCs after their sources, whatever the template"))
        }
        Some(OPENSHIFT_TEMPLATES) => Ok(false),
        Some(mtv) => Ok(asked.unwrap_or(mtv < OPENSHIFT_EXACT_DEFAULT)),
    }
}

fn render(facts: &Facts<'_>, template: &str, index: usize, disk: &SourceDisk) -> Result<String, Outcome> {
    let target_name = match &facts.target {
        Ok(Some(target)) => target.name.clone(),
        _ => facts.before.name.clone(),
    };
    let old = facts.mtv_version.and_then(major_minor).is_some_and(|mtv| mtv < ORIGINAL_VM_NAME);
    let vm_name = if old { target_name.clone() } else { facts.before.name.clone() };
    let mut fields = BTreeMap::from([
        ("VmName", Value::Str(vm_name)),
        ("TargetVmName", Value::Str(target_name)),
        ("DiskIndex", Value::Int(i64::try_from(index).unwrap_or(i64::MAX))),
    ]);
    if facts.platform == Platform::Openshift
        && let Some((namespace, claim)) = disk.id.split_once('/')
    {
        fields.insert("SourcePVCNamespace", Value::Str(namespace.to_owned()));
        fields.insert("SourcePVCName", Value::Str(claim.to_owned()));
    }
    if let Some(file) = &disk.file_name {
        fields.insert("FileName", Value::Str(file.clone()));
    }
    template::render(template, &fields).map_err(|error| match error {
        TemplateError::UnknownField(name) => not_judged(format!("the template needs {name}, which is unknown here")),
        other => not_judged(format!("the template cannot be rendered: {other}")),
    })
}

pub(super) fn pvc_names(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(template) = facts.scenario.pvc_name_template.as_deref() else { return Vec::new() };
    let generate = match generates(facts) {
        Ok(generate) => generate,
        Err(outcome) => return whole(outcome),
    };
    let pairs = pairs(facts, target);
    if pairs.of_source.is_empty() {
        return whole(not_judged("the source VM has no disk"));
    }
    let names: Vec<Result<Expected, Outcome>> = pairs
        .of_source
        .iter()
        .enumerate()
        .map(|(index, (disk, _))| render(facts, template, index, disk).and_then(|name| expected(&name, generate)))
        .collect();
    if pairs.by_annotation {
        return pairs
            .of_source
            .iter()
            .zip(names)
            .map(|((source, hit), name)| {
                let outcome = match (hit, name) {
                    (None, _) => not_judged("the disk has no counterpart (see disk-count)"),
                    (_, Err(outcome)) => outcome,
                    (Some((_, disk)), Ok(name)) if name.fits(&disk.pvc) => passed(disk.pvc.clone()),
                    (Some((_, disk)), Ok(name)) => failed(name.text(), disk.pvc.clone()),
                };
                part(source.label.clone(), outcome)
            })
            .collect();
    }
    by_consumption(target, names)
}

/// Without a word on where the PVCs came from: each must have a name of its own among the expected.
fn by_consumption(target: &TargetVm, names: Vec<Result<Expected, Outcome>>) -> Vec<Judgement> {
    let mut left = Vec::new();
    for name in names {
        match name {
            Ok(name) => left.push(name),
            Err(outcome) => return whole(outcome),
        }
    }
    if target.disks.is_empty() {
        return whole(not_judged("the migrated VM has no disk (see disk-count)"));
    }
    target
        .disks
        .iter()
        .map(|disk| {
            let outcome = match left.iter().position(|name| name.fits(&disk.pvc)) {
                Some(position) => {
                    left.remove(position);
                    passed(disk.pvc.clone())
                }
                // More disks than names is disk-count's finding.
                None if left.is_empty() => not_judged("no name is left for a disk that the source does not have"),
                None => failed(left.iter().map(Expected::text).collect::<Vec<_>>().join(" or "), disk.pvc.clone()),
            };
            part(disk.pvc.clone(), outcome)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worked(template: &str, generate: bool, vm: &str, index: i64, file: Option<&str>) -> Result<Expected, String> {
        let mut fields = BTreeMap::from([("VmName", Value::Str(vm.into())), ("DiskIndex", Value::Int(index))]);
        if let Some(file) = file {
            fields.insert("FileName", Value::Str(file.into()));
        }
        let rendered = template::render(template, &fields).map_err(|error| error.to_string())?;
        expected(&rendered, generate).map_err(|outcome| format!("{outcome:?}"))
    }

    #[test]
    fn the_worked_cases_of_the_peer_hold() {
        assert_eq!(
            worked("{{.VmName}}-disk-{{.DiskIndex}}", false, "a", 0, None),
            Ok(Expected::Exact("a-disk-0".into()))
        );
        let long = "x".repeat(70);
        assert_eq!(worked("{{.VmName}}-{{.DiskIndex}}", true, &long, 1, None), Ok(Expected::Prefix("x".repeat(58))));
        assert_eq!(worked("{{.VmName}}-{{.DiskIndex}}", false, &long, 1, None), Ok(Expected::Exact("x".repeat(63))));
        let file = r#"{{ .FileName | trimSuffix ".vmdk" | replace "_" "-" }}"#;
        assert_eq!(worked(file, false, "a", 0, Some("vm_1.vmdk")), Ok(Expected::Exact("vm-1".into())));
        assert_eq!(worked(file, true, "a", 0, Some("vm_1.vmdk")), Ok(Expected::Prefix("vm-1".into())));
        assert!(worked("{{.FileName}}", false, "a", 0, None).unwrap_err().contains("FileName"));
        assert!(worked("{{ \" \" }}", false, "a", 0, None).unwrap_err().contains("empty name"));
    }

    #[test]
    fn a_prefix_needs_exactly_the_generated_characters_after_it() {
        let prefix = Expected::Prefix("a-disk-1".into());
        assert!(prefix.fits("a-disk-1-x7k2p"));
        assert!(prefix.fits("a-disk-1x7k2p"));
        assert!(!prefix.fits("a-disk-10-x7k2p"), "disk 10 is not disk 1");
        assert!(!prefix.fits("a-disk-1"));
    }
}
