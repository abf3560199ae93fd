//! Is it the VM of this migration? Name, namespace, and the labels by which MTV knows its own.

use serde_json::Value;

use super::super::{Facts, Judgement, TargetVm, platform};
use super::{Compared, at, text, unsaid};

/// Longest name that MTV makes.
const LONGEST: usize = 63;
/// `-` and four characters that MTV adds to a changed name that is taken.
const SUFFIX: usize = 5;

/// Whether Kubernetes takes a name as it is.
fn is_subdomain(name: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// What MTV makes of a name that Kubernetes does not take (`changeVmNameDNS1123`, forklift.md §7.2).
fn adjusted(source: &str) -> String {
    let mapped: String = (source.to_lowercase().chars())
        .filter_map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '-' => Some(c),
            '_' | '+' | '*' | ' ' | '/' | '\\' => Some('-'),
            _ => None,
        })
        .collect();
    let single = |part: &str| part.split('-').filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("-");
    let parts: Vec<String> = mapped.split('.').map(single).filter(|part| !part.is_empty()).collect();
    let name: String = parts.join(".").chars().take(LONGEST).collect();
    name.trim_matches(['-', '.']).to_owned()
}

/// Whether a migrated VM may be called so.
fn is_named(facts: &Facts<'_>, name: &str) -> Result<(), String> {
    let source = &facts.before.name;
    match facts.target_name {
        Some(asked) if asked == name => Ok(()),
        Some(asked) => Err(asked.to_owned()),
        None if is_subdomain(source) => {
            if source == name {
                Ok(())
            } else {
                Err(source.clone())
            }
        }
        None => {
            let wanted = adjusted(source);
            let rest = name.strip_prefix(&wanted);
            let fits = rest.is_some_and(|rest| rest.is_empty() || (rest.len() == SUFFIX && rest.starts_with('-')));
            if fits { Ok(()) } else { Err(wanted) }
        }
    }
}

pub(in crate::check) fn identity(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let vm = &target.objects.vm;
    let mut compared = Compared::default();
    let name = text(vm, "/metadata/name");
    if let Err(wanted) = is_named(facts, name) {
        compared.wrong("name", wanted, name);
    }
    compared.same("namespace", text(&facts.ran.sent, "/targetNamespace"), text(vm, "/metadata/namespace"));
    compared.holds(unsaid(at(vm, "/metadata/deletionTimestamp")), "metadata", "a VM that stays", || {
        "it is being deleted".to_owned()
    });
    labels(facts, at(vm, "/metadata/labels"), true, &mut compared);
    let own = ["guestConverted", "resource"].map(|label| (label, text(vm, &format!("/metadata/labels/{label}"))));
    // `kubevirt.go`: whether anything was converted.
    let converted = if facts.scenario.skip_guest_conversion { "false" } else { "true" };
    for ((label, actual), wanted) in own.into_iter().zip([converted, "vm-config"]) {
        compared.same_if_said(&format!("label {label}"), wanted, actual);
    }
    // The template's `app` is what Services select the VM by.
    if platform::of(facts.platform).devices.is_some() {
        compared.same_if_said("template label app", name, text(vm, "/spec/template/metadata/labels/app"));
    }
    compared.judgements(name)
}

/// The labels of *this* Plan, Migration and VM: a look-alike from yesterday's run has others. `names_plan`: the Plan's
/// must be there.
pub(super) fn labels(facts: &Facts<'_>, labels: &Value, names_plan: bool, compared: &mut Compared) {
    let label = |key: &str| text(labels, &format!("/{key}"));
    compared.same("label vmID", &facts.before.id, label("vmID"));
    for (key, object) in [("plan", &facts.ran.plan), ("migration", &facts.ran.migration)] {
        let subject = format!("label {key}");
        match object {
            Ok(Some(_)) if key == "plan" && !names_plan && label(key).is_empty() => {}
            Ok(Some(_)) if key == "migration" && facts.ran.earlier.iter().any(|uid| uid == label(key)) => {}
            Ok(Some(object)) => compared.same(&subject, text(object, "/metadata/uid"), label(key)),
            // That it is gone is `migration-status`'s finding.
            Ok(None) => compared.open(subject, format!("the {key} is gone")),
            Err(why) => compared.open(subject, format!("the {key} could not be read: {why}")),
        }
    }
    if let Ok(Some(plan)) = &facts.ran.plan {
        compared.same_if_said("label plan-name", text(plan, "/metadata/name"), label("plan-name"));
        compared.same_if_said("label plan-namespace", text(plan, "/metadata/namespace"), label("plan-namespace"));
    }
}

#[cfg(test)]
mod tests {
    use super::{adjusted, is_subdomain};

    #[test]
    fn a_name_that_kubernetes_does_not_take_becomes_what_mtv_makes_of_it() {
        assert!(is_subdomain("a-1.b") && !is_subdomain("A") && !is_subdomain("a_b") && !is_subdomain("-a"));
        assert_eq!(adjusted("My_VM (prod)"), "my-vm-prod");
        assert_eq!(adjusted("a..b--c-"), "a.b-c");
    }
}
