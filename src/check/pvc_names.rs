//! PVC names follow the Plan's template (peer.md §7.5, forklift.md §6.4).

use std::collections::BTreeMap;

use crate::api::names::MAX_LABEL;
use crate::api::vm::{SourceDisk, SourceVm, TargetVm};
use crate::config::Platform;
use crate::event::Outcome;

use super::storage::pairs;
use super::template::{self, TemplateError, Value};
use super::{Facts, Judgement, failed, major_minor, not_judged, part, passed, whole};

/// What the API server keeps of a `generateName`.
const GENERATE_NAME_KEEPS: usize = 58;
/// What it appends.
const GENERATED_CHARS: usize = 5;
/// What MTV appends itself where an array's populator fills the claim (`generatePopulatorSuffix`).
const POPULATED_CHARS: usize = 8;
/// First MTV whose `.VmName` is the source's own name.
const ORIGINAL_VM_NAME: (u32, u32) = (2, 10);
/// First MTV that takes a template for an OpenShift source; it ignores `generateName`.
const OPENSHIFT_TEMPLATES: (u32, u32) = (2, 11);
/// First MTV whose default for an OpenShift source is an exact name.
const OPENSHIFT_EXACT_DEFAULT: (u32, u32) = (2, 13);
/// First MTV that takes a template for every source, and refuses a Plan whose template renders no name.
const TEMPLATES_EVERYWHERE: (u32, u32) = (2, 13);

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
                [GENERATED_CHARS, POPULATED_CHARS].contains(&generated.len())
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

/// What MTV takes for a name: a DNS-1123 label, measured before anything is cut or added.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Turns a rendered template into the expected name; `None`: MTV does not take it for one.
pub(super) fn expected(rendered: &str, generate_name: bool) -> Option<Expected> {
    let rendered = rendered.trim();
    is_label(rendered).then(|| match generate_name {
        true => Expected::Prefix(cut(rendered, GENERATE_NAME_KEEPS)),
        false => Expected::Exact(rendered.to_owned()),
    })
}

/// The name that MTV gives a disk where the template gives none (`setObjectNameFromTemplate` fails, and
/// the names of `pkg/controller/plan/kubevirt.go` stay).
fn built_in(facts: &Facts<'_>, rendered: &str, disk: &SourceDisk) -> Result<Expected, Outcome> {
    let refused = facts.mtv_version.and_then(major_minor).is_some_and(|mtv| mtv >= TEMPLATES_EVERYWHERE);
    match (facts.platform, disk.id.split_once('/')) {
        _ if refused => {
            Err(not_judged(format!("the template renders {rendered:?}, which is no DNS label: this MTV refuses it")))
        }
        (Platform::Openshift, Some((_, claim))) => Ok(Expected::Exact(claim.to_owned())),
        _ => Ok(Expected::Prefix(cut(&format!("{}-{}", facts.plan, facts.before.id), GENERATE_NAME_KEEPS))),
    }
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

/// A disk as templates see it.
struct Templated<'a> {
    platform: Platform,
    mtv: Option<(u32, u32)>,
    plan: &'a str,
    vm: &'a SourceVm,
    target_name: &'a str,
    index: usize,
    disk: &'a SourceDisk,
}

impl Templated<'_> {
    /// The fields that MTV fills in and a runner knows.
    fn fields(&self) -> BTreeMap<&'static str, Value> {
        let text = |text: &str| Value::Str(text.to_owned());
        let old = self.mtv.is_some_and(|mtv| mtv < ORIGINAL_VM_NAME);
        let mut fields = BTreeMap::from([
            ("VmName", text(if old { self.target_name } else { &self.vm.name })),
            ("TargetVmName", text(self.target_name)),
            ("PlanName", text(self.plan)),
            ("DiskIndex", Value::Int(i64::try_from(self.index).unwrap_or(i64::MAX))),
        ]);
        let newest = self.mtv.is_some_and(|mtv| mtv >= TEMPLATES_EVERYWHERE);
        if newest {
            fields.insert("VmId", text(&self.vm.id));
        }
        match self.platform {
            Platform::Vsphere => {
                fields.extend(self.disk.file_name.as_deref().map(|file| ("FileName", text(file))));
            }
            Platform::Openshift => {
                if let Some((namespace, claim)) = self.disk.id.split_once('/') {
                    fields.insert("SourcePVCNamespace", text(namespace));
                    fields.insert("SourcePVCName", text(claim));
                }
            }
            Platform::Ovirt | Platform::Hyperv if newest => {
                fields.insert("DiskId", text(&self.disk.id));
            }
            Platform::Openstack | Platform::Ec2 if newest => {
                fields.insert("VolumeID", text(&self.disk.id));
            }
            Platform::Ovirt | Platform::Hyperv | Platform::Openstack | Platform::Ec2 | Platform::Ova => {}
        }
        fields
    }
}

/// Why MTV has no name for disks of this platform by this template, though it has for others': a field
/// that only another platform fills is empty or unknown, and the Plan is refused for it. A Plan is
/// then better made without the template.
pub fn unfit(platform: Platform, mtv_version: Option<&str>, template: &str, vm: &SourceVm) -> Option<String> {
    let mtv = mtv_version.and_then(major_minor);
    let judged_since = match platform {
        // Its fields are the ones that templates were made for.
        Platform::Vsphere => return None,
        Platform::Openshift => OPENSHIFT_TEMPLATES,
        Platform::Ovirt | Platform::Openstack | Platform::Ova | Platform::Hyperv | Platform::Ec2 => {
            TEMPLATES_EVERYWHERE
        }
    };
    if mtv.is_none_or(|mtv| mtv < judged_since) {
        return None;
    }
    vm.disks.iter().enumerate().find_map(|(index, disk)| {
        let (plan, target_name) = ("plan", vm.name.as_str());
        let templated = Templated { platform, mtv, plan, vm, target_name, index, disk };
        match template::render(template, &templated.fields()) {
            Err(TemplateError::UnknownField(name)) => {
                Some(format!("the template needs .{name}, which MTV does not fill in for {platform}"))
            }
            _ => None,
        }
    })
}

fn render(facts: &Facts<'_>, template: &str, index: usize, disk: &SourceDisk) -> Result<String, Outcome> {
    let target_name = match &facts.target {
        Ok(Some(target)) => target.name.as_str(),
        _ => facts.before.name.as_str(),
    };
    let mtv = facts.mtv_version.and_then(major_minor);
    let (platform, plan, vm) = (facts.platform, facts.plan, facts.before);
    let templated = Templated { platform, mtv, plan, vm, target_name, index, disk };
    template::render(template, &templated.fields()).map_err(|error| match error {
        TemplateError::UnknownField(name) => not_judged(format!("the template needs {name}, which is unknown here")),
        other => not_judged(format!("the template cannot be rendered: {other}")),
    })
}

pub(super) fn pvc_names(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(template) = facts.scenario.pvc_name_template.as_deref() else { return Vec::new() };
    if let Some(why) = unfit(facts.platform, facts.mtv_version, template, facts.before) {
        return whole(not_judged(why));
    }
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
        .map(|(index, (disk, _))| {
            let name = render(facts, template, index, disk)?;
            expected(&name, generate).map_or_else(|| built_in(facts, &name, disk), Ok)
        })
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

    fn worked(template: &str, generate: bool, vm: &str, file: Option<&str>) -> Result<Option<Expected>, String> {
        let mut fields = BTreeMap::from([("VmName", Value::Str(vm.into())), ("DiskIndex", Value::Int(0))]);
        if let Some(file) = file {
            fields.insert("FileName", Value::Str(file.into()));
        }
        let rendered = template::render(template, &fields).map_err(|error| error.to_string())?;
        Ok(expected(&rendered, generate))
    }

    #[test]
    fn a_rendered_name_is_taken_as_it_is_or_not_at_all() {
        let exact = |name: &str| Ok(Some(Expected::Exact(name.to_owned())));
        let index = "{{.VmName}}-{{.DiskIndex}}";
        assert_eq!(worked("{{.VmName}}-disk-{{.DiskIndex}}", false, "a", None), exact("a-disk-0"));
        let (fits, long) = ("x".repeat(61), "x".repeat(62));
        assert_eq!(worked(index, false, &fits, None), exact(&format!("{fits}-0")));
        assert_eq!(worked(index, true, &fits, None), Ok(Some(Expected::Prefix("x".repeat(58)))));
        for generate in [true, false] {
            assert_eq!(worked(index, generate, &long, None), Ok(None), "64 characters are no label");
            assert_eq!(worked("{{.VmName}}-", generate, "a", None), Ok(None), "nor is one that ends with a dash");
        }
        let file = r#"{{ .FileName | trimSuffix ".vmdk" | replace "_" "-" }}"#;
        assert_eq!(worked(file, false, "a", Some("vm_1.vmdk")), exact("vm-1"));
        assert_eq!(worked(file, true, "a", Some("vm_1.vmdk")), Ok(Some(Expected::Prefix("vm-1".into()))));
        assert!(worked("{{.FileName}}", false, "a", None).unwrap_err().contains("FileName"));
        assert_eq!(worked("{{ \" \" }}", false, "a", None), Ok(None));
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
