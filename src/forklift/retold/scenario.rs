//! The scenario of a Plan that is told again: its options, and a story that ends as it ended.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Told;
use crate::api::condition::Conditions;
use crate::api::forklift::VmStatus;
use crate::api::world::{Power, World};
use crate::forklift::execution::failed_step;

/// A scenario as a file writes it, keys in the order of docs/scenarios.md.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    description: String,
    tags: Vec<&'static str>,
    requires: Requires,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'static str>,
    virtual_machines: Vec<RecordedVm>,
    #[serde(skip_serializing_if = "is_false")]
    warm_migration: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cutover: Option<BTreeMap<&'static str, i64>>,
    #[serde(skip_serializing_if = "is_false")]
    preserve_static_ips: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pvc_name_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pvc_name_template_use_generate_name: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_power_state: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    target_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_affinity: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_preflight_inspection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_hook: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_hook: Option<Value>,
    steps: Vec<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct Requires {
    platforms: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
struct RecordedVm {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_vm_power: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_power_state: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// How one VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Succeeded,
    Failed(Option<String>),
    /// While this step ran.
    Canceled(Option<String>),
    /// Nobody saw an end.
    Open(Option<String>),
}

fn end_of(status: &VmStatus) -> End {
    let begun = || status.pipeline.iter().rev().find(|step| step.started.is_some()).map(|step| step.name.clone());
    if status.conditions.holds("Succeeded") {
        End::Succeeded
    } else if status.conditions.holds("Failed") || status.error.is_some() {
        End::Failed(failed_step(status))
    } else if status.conditions.holds("Canceled") {
        End::Canceled(begun())
    } else {
        End::Open(begun())
    }
}

impl Told<'_> {
    /// `names`: what the world calls the VMs, in the Plan's order.
    pub(super) fn scenario(&self, names: &[String], world: &World, plain: bool, notes: &mut Vec<String>) -> Recorded {
        let spec = &self.plan.spec;
        let wanted = self.vms();
        let ran = |index: usize, status: Option<&VmStatus>| {
            let vm = world.source(self.kind).vms.get(index);
            self.was_on(status) || vm.is_some_and(|vm| vm.power == Power::On)
        };
        let on: Vec<bool> = wanted.iter().enumerate().map(|(index, (_, _, status))| ran(index, *status)).collect();
        let state = |state: Option<&String>| state.filter(|state| matches!(state.as_str(), "on" | "off")).cloned();
        let vms = names.iter().zip(&on).zip(&spec.vms).map(|((name, on), vm)| RecordedVm {
            name: name.clone(),
            source_vm_power: on.then_some("on"),
            target_power_state: state(vm.target_power_state.as_ref()),
        });
        let fixed = spec.preserve_static_ips == Some(true);
        if fixed && !on.iter().all(|on| *on) {
            notes.push("preserve_static_ips is left out: a scenario has it where every VM runs before".to_owned());
        }
        if !spec.target_node_selector.is_empty() {
            notes.push("targetNodeSelector is left out: it names nodes of that cluster".to_owned());
        }
        let ends: Vec<(String, End)> = names
            .iter()
            .zip(&wanted)
            .filter_map(|(name, (_, _, status))| Some((name.clone(), end_of((*status)?))))
            .collect();
        Recorded {
            description: if plain {
                format!("Recorded: {}", in_words(&ends))
            } else {
                format!("Recorded from Plan {}: {}", self.called, in_words(&ends))
            },
            tags: vec!["recorded"],
            requires: Requires { platforms: vec![self.kind.name()] },
            destination: self.remote.then_some("remote"),
            virtual_machines: vms.collect(),
            warm_migration: spec.warm,
            cutover: self.cutover(),
            preserve_static_ips: fixed && on.iter().all(|on| *on),
            pvc_name_template: spec.pvc_name_template.clone().filter(|_| !plain),
            pvc_name_template_use_generate_name: spec.pvc_name_template_use_generate_name.filter(|_| !plain),
            target_power_state: state(spec.target_power_state.as_ref()),
            target_labels: if plain { BTreeMap::new() } else { spec.target_labels.clone() },
            target_affinity: spec.target_affinity.clone().filter(|_| !plain),
            run_preflight_inspection: spec.run_preflight_inspection,
            pre_hook: self.told_hook("PreHook", &ends, plain, notes),
            post_hook: self.told_hook("PostHook", &ends, plain, notes),
            steps: self.steps(&ends, notes),
        }
    }

    /// After as many precopies as there were.
    fn cutover(&self) -> Option<BTreeMap<&'static str, i64>> {
        let counts = self.statuses.iter().filter_map(|status| status.warm.as_ref()).map(|warm| warm.successes);
        let most = counts.max().filter(|most| self.plan.spec.warm && *most > 0)?;
        Some(BTreeMap::from([("after_precopies", most.min(1000))]))
    }

    /// The playbook, or one that ends as it ended.
    fn told_hook(&self, step: &str, ends: &[(String, End)], plain: bool, notes: &mut Vec<String>) -> Option<Value> {
        let (reference, hook) = self.hook(step)?;
        let failed = ends.iter().any(|(_, end)| *end == End::Failed(Some(step.to_owned())));
        if let Some(aap) = hook.as_ref().and_then(|hook| hook.spec.aap.as_ref()).filter(|_| !plain) {
            notes.push(format!("the {step} is a job of the Automation Platform: `aap_url` must have its template"));
            return Some(json!({"aap_job_template_id": aap.job_template_id}));
        }
        let ended = json!({"expected_result": if failed { "fail" } else { "succeed" }});
        let playbook = hook.and_then(|hook| hook.spec.playbook).filter(|text| !text.is_empty() && !plain);
        Some(match playbook {
            // What made it fail may be anywhere but in the playbook.
            Some(own) if !failed || fails_by_itself(&own) => json!({"playbook_base64": own}),
            Some(_) => {
                notes.push(format!(
                    "the {step} failed, and not by a task that fails: another that does is in its place"
                ));
                ended
            }
            None => {
                if !plain {
                    let name = reference.hook.name.as_deref().unwrap_or_default();
                    notes.push(format!(
                        "the playbook of Hook {name} was not gathered: one that ends so is in its place"
                    ));
                }
                ended
            }
        })
    }

    fn steps(&self, ends: &[(String, End)], notes: &mut Vec<String>) -> Vec<Value> {
        let failed: Vec<&(String, End)> = ends.iter().filter(|(_, end)| matches!(end, End::Failed(_))).collect();
        let warm = self.plan.spec.warm;
        let cut_over = self.migration.is_some_and(|migration| migration.spec.cutover.is_some())
            || ends
                .iter()
                .any(|(_, end)| matches!(end, End::Succeeded | End::Failed(Some(_))) && warm && self.reached_cutover());
        let precopies = self.cutover().and_then(|it| it.get("after_precopies").copied());
        let mut steps = vec![json!("start")];
        if warm && cut_over {
            steps.push(match precopies {
                Some(count) => json!({"cutover": {"after_precopies": count}}),
                None => json!("cutover"),
            });
        }
        let at = |step: &Option<String>| step.as_ref().map(|step| json!({"at": step})).unwrap_or_else(|| json!({}));
        let expect = |ended: &str, more: Value, vm: Option<&str>| {
            let mut arguments = serde_json::Map::from_iter([("ended".to_owned(), json!(ended))]);
            arguments.extend(more.as_object().cloned().unwrap_or_default());
            arguments.extend(vm.map(|vm| ("vm".to_owned(), json!(vm))));
            json!({"expect": arguments})
        };
        match (failed.as_slice(), ends) {
            ([], []) => {
                let conditions =
                    self.plan.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                let critical = conditions.iter().find(|it| it.is_blocker());
                match critical {
                    Some(condition) => {
                        notes.push(format!("the Plan was never started: it had the condition {}", condition.type_));
                        vec![json!({"validate": {"condition": condition.type_}})]
                    }
                    None => vec![json!("migrate"), json!("verify")],
                }
            }
            ([], _) if ends.iter().all(|(_, end)| *end == End::Succeeded) => vec![json!("migrate"), json!("verify")],
            ([], _) => {
                let open = ends.iter().find_map(|(_, end)| match end {
                    End::Canceled(step) | End::Open(step) => Some((matches!(end, End::Open(_)), step.clone())),
                    End::Succeeded | End::Failed(_) => None,
                });
                let (unended, step) = open.unwrap_or_default();
                if let Some(step) = step {
                    steps.push(json!({"wait": {"for": {"step": step}}}));
                }
                if unended {
                    notes.push("nobody saw the migration end: the story cancels it where it was".to_owned());
                }
                let canceled: Vec<&String> =
                    ends.iter().filter(|(_, end)| *end != End::Succeeded).map(|(name, _)| name).collect();
                if canceled.len() == ends.len() {
                    steps.push(json!("cancel"));
                    steps.push(expect("canceled", json!({}), None));
                } else {
                    steps.push(json!({"cancel": {"vms": canceled}}));
                    steps.push(expect("succeeded", json!({}), None));
                }
                steps
            }
            ([(_, End::Failed(step))], _) if ends.len() == 1 => {
                steps.push(expect("failed", at(step), None));
                steps
            }
            (several, _) => {
                for (name, end) in several {
                    if let End::Failed(step) = end {
                        steps.push(expect("failed", at(step), Some(name)));
                    }
                }
                steps.push(expect("failed", json!({}), None));
                steps
            }
        }
    }

    /// Whether a warm migration went on after its precopies.
    fn reached_cutover(&self) -> bool {
        let after = ["Cutover", "ImageConversion", "VirtualMachineCreation"];
        let mut steps = self.statuses.iter().flat_map(|status| &status.pipeline);
        steps.any(|step| step.started.is_some() && after.contains(&step.name.as_str()))
    }
}

fn in_words(ends: &[(String, End)]) -> String {
    let at = |step: &Option<String>| step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
    let word = |end: &End| match end {
        End::Succeeded => "succeeded".to_owned(),
        End::Failed(step) => format!("failed{}", at(step)),
        End::Canceled(step) => format!("was canceled{}", at(step)),
        End::Open(step) => format!("did not end{}", at(step)),
    };
    match ends {
        [] => "it was not started".to_owned(),
        [(_, end)] => word(end),
        several => several.iter().map(|(name, end)| format!("{name} {}", word(end))).collect::<Vec<_>>().join(", "),
    }
}

/// Whether a playbook has a task that fails on purpose.
fn fails_by_itself(playbook: &str) -> bool {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.decode(playbook).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let tasks = text.lines().map(|line| line.trim().trim_start_matches("- "));
    tasks.filter_map(|line| line.split_once(':')).any(|(module, _)| matches!(module, "fail" | "ansible.builtin.fail"))
}
