//! Hooks and the Plan.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::ResourceExt;
use secrecy::SecretString;

use super::providers::secret;
use super::ready::{self, Patience};
use super::{MtvError, references};
use crate::api::condition::Conditions;
use crate::api::forklift::{AapHook, Hook, HookRef, HookSpec, ObjRef, Pair, Plan, PlanMap, PlanSpec, PlanVm};
use crate::cluster::apply::patch_merge;
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, Tracked};
use crate::config::{ExpectedResult, HookPlan, Scenario};

/// The image that MTV's own documentation names for playbooks.
const HOOK_IMAGE: &str = "quay.io/konveyor/hook-runner";

/// The playbook of a hook as base64: the user's own, or one that does what is expected of it; empty where it has none.
pub fn playbook(hook: &HookPlan) -> String {
    if hook.aap_job_template_id.is_some() {
        return String::new();
    }
    match (&hook.playbook_base64, hook.expected_result.unwrap_or_default()) {
        (Some(own), _) => own.clone(),
        (None, ExpectedResult::Succeed) => STANDARD.encode(
            "- name: mtv-matrix hook that succeeds\n  hosts: localhost\n  tasks:\n    - name: Say so\n      ansible.builtin.debug:\n        msg: the hook ran\n",
        ),
        (None, ExpectedResult::Fail) => STANDARD.encode(
            "- name: mtv-matrix hook that fails\n  hosts: localhost\n  tasks:\n    - name: Fail as the scenario asks\n      ansible.builtin.fail:\n        msg: this hook fails on purpose\n",
        ),
    }
}

/// The Automation Platform that hooks of the run use.
pub struct Aap<'a> {
    pub url: &'a str,
    pub token: Option<&'a SecretString>,
}

/// Creates a Hook and waits until it is `Ready`. One of the Automation Platform has its own way there, so that nothing of
/// the ForkliftController's is changed: a Secret beside it, with the token.
pub async fn create_hook(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    hook: &HookPlan,
    aap: &Aap<'_>,
    patience: Patience,
) -> Result<ObjRef, MtvError> {
    let spec = match hook.aap_job_template_id {
        None => HookSpec { image: HOOK_IMAGE.to_owned(), playbook: Some(playbook(hook)), ..HookSpec::default() },
        Some(id) => {
            let key = format!("{name}-token");
            let token = aap.token.cloned().unwrap_or_default();
            let data = BTreeMap::from([("token".to_owned(), token)]);
            tracked.create(secret(namespace, &key, BTreeMap::new(), data)).await?;
            let token_secret = Some(ObjRef::new(namespace, &key));
            let own = AapHook { job_template_id: i64::from(id), url: aap.url.to_owned(), token_secret, timeout: None };
            HookSpec { aap: Some(own), ..HookSpec::default() }
        }
    };
    ready::create(tracked, namespace, Hook::new(name, spec), patience, ready::nothing).await?;
    Ok(ObjRef::new(namespace, name))
}

/// Creates a Secret with the key that opens encrypted disks: each value of it is tried.
pub async fn create_key(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    passphrase: &SecretString,
) -> Result<ObjRef, MtvError> {
    let data = BTreeMap::from([("key".to_owned(), passphrase.clone())]);
    tracked.create(secret(namespace, name, BTreeMap::new(), data)).await?;
    Ok(ObjRef::new(namespace, name))
}

/// One VM of the Plan to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVm {
    pub id: String,
    /// At the source.
    pub name: String,
    /// Exact name of the migrated VM; `None`: MTV takes the source's.
    pub target_name: Option<String>,
    /// Of the source VM, where the platform has such.
    pub namespace: Option<String>,
    pub target_power_state: Option<&'static str>,
    pub migrate_shared_disks: Option<bool>,
    /// The Secret that opens its encrypted disks.
    pub luks: Option<ObjRef>,
}

/// What a Plan is built from.
pub struct PlanRequest<'a> {
    pub scenario: &'a Scenario,
    pub namespace: &'a str,
    pub name: &'a str,
    pub target_namespace: &'a str,
    pub provider: Pair,
    pub map: PlanMap,
    pub vms: Vec<PlannedVm>,
    pub hooks: Vec<HookRef>,
    pub pvc_name_template: Option<String>,
    pub target_labels: BTreeMap<String, String>,
    pub target_node_selector: BTreeMap<String, String>,
}

/// The Plan of a scenario. Optional fields are set only when the scenario asks for them, so that
/// MTV's defaults are what is tested.
pub fn build(request: PlanRequest<'_>) -> Plan {
    let scenario = request.scenario;
    let spec = PlanSpec {
        description: Some(format!("mtv-matrix: {}", scenario.name)),
        target_namespace: request.target_namespace.to_owned(),
        provider: request.provider,
        map: request.map,
        vms: request
            .vms
            .into_iter()
            .map(|vm| PlanVm {
                id: Some(vm.id),
                // Where VMs have namespaces MTV reads the VM itself, by both names; without them a Plan
                // never gets a status (ocp/validator.go, `NICNetworkRefs`). Elsewhere the id tells.
                name: vm.namespace.is_some().then_some(vm.name),
                namespace: vm.namespace,
                hooks: request.hooks.clone(),
                target_name: vm.target_name,
                target_power_state: vm.target_power_state.map(str::to_owned),
                luks: vm.luks,
                migrate_shared_disks: vm.migrate_shared_disks,
            })
            .collect(),
        warm: scenario.warm_migration,
        type_: scenario.live_migration.then(|| "live".to_owned()),
        target_labels: request.target_labels,
        target_node_selector: request.target_node_selector,
        target_affinity: scenario.target_affinity.clone(),
        preserve_static_ips: Some(scenario.preserve_static_ips),
        pvc_name_template_use_generate_name: scenario
            .pvc_name_template_use_generate_name
            .filter(|_| request.pvc_name_template.is_some()),
        pvc_name_template: request.pvc_name_template,
        target_power_state: scenario.target_power_state.map(|p| p.name().to_owned()),
        run_preflight_inspection: scenario.run_preflight_inspection,
        migrate_shared_disks: scenario.migrate_shared_disks,
        enable_nested_virtualization: scenario.enable_nested_virtualization,
        skip_guest_conversion: scenario.skip_guest_conversion.then_some(true),
        use_compatibility_mode: scenario.use_compatibility_mode,
        rdm_as_lun: scenario.rdm_as_lun.then_some(true),
        // Off is what it is by itself.
        xfs_compatibility: scenario.xfs_compatibility.filter(|on| *on),
        ..PlanSpec::default()
    };
    let mut plan = Plan::new(request.name, spec);
    plan.metadata.namespace = Some(request.namespace.to_owned());
    plan
}

/// Waits until the Plan is `Ready`.
pub async fn is_ready(cluster: &Cluster, plan: &Plan, patience: Patience) -> Result<(), MtvError> {
    let (namespace, name) = (plan.namespace().unwrap_or_default(), plan.name_any());
    let spec = plan.spec.clone();
    let missing = async || references::missing(cluster, &spec).await;
    ready::is_ready::<Plan>(cluster, &namespace, &name, patience, missing).await.map(drop)
}

/// Waits until the Plan has a condition, whatever else it has.
pub async fn has_condition(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    type_: &str,
    limit: Duration,
) -> Result<(), MtvError> {
    let what = format!("the condition {type_} of Plan {namespace}/{name}");
    let held = wait::until(cluster, Some(namespace), name, &what, limit, |found: Option<&Plan>| {
        let Some(status) = found.and_then(|plan| plan.status.as_ref()) else {
            return Poll::NotYet("no status yet".to_owned());
        };
        if status.conditions.holds(type_) { Poll::Done(()) } else { Poll::NotYet(status.conditions.summary()) }
    });
    held.await.map_err(|error| ready::product(error, format!("oc -n {namespace} describe plan {name}")))
}

/// Archives the Plan and waits until MTV has done so.
pub async fn archive(cluster: &Cluster, namespace: &str, name: &str, limit: Duration) -> Result<(), MtvError> {
    patch_merge::<Plan>(cluster, Some(namespace), name, &serde_json::json!({"spec": {"archived": true}})).await?;
    has_condition(cluster, namespace, name, "Archived", limit).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(scenario: serde_json::Value) -> serde_json::Value {
        built_with(scenario, Vec::new())
    }

    fn built_with(scenario: serde_json::Value, vms: Vec<PlannedVm>) -> serde_json::Value {
        let scenario: Scenario = serde_json::from_value(scenario).unwrap();
        let plan = build(PlanRequest {
            scenario: &scenario,
            namespace: "n",
            name: "plan",
            target_namespace: "t",
            provider: Pair::default(),
            map: PlanMap::default(),
            vms,
            hooks: Vec::new(),
            pvc_name_template: None,
            target_labels: BTreeMap::new(),
            target_node_selector: BTreeMap::new(),
        });
        serde_json::to_value(plan.spec).unwrap()
    }

    #[test]
    fn a_vm_that_has_a_namespace_is_named_and_any_other_is_not() {
        let vm = |namespace: Option<&str>| PlannedVm {
            id: "1".to_owned(),
            name: "a".to_owned(),
            target_name: None,
            namespace: namespace.map(str::to_owned),
            target_power_state: None,
            migrate_shared_disks: None,
            luks: None,
        };
        let plan = built_with(serde_json::json!({"virtual_machines": [{"name": "a"}]}), vec![vm(Some("n")), vm(None)]);
        let expected = serde_json::json!([{"id": "1", "name": "a", "namespace": "n"}, {"id": "1"}]);
        assert_eq!(plan["vms"], expected);
    }

    #[test]
    fn an_option_is_in_the_plan_only_where_the_scenario_sets_it() {
        let plain = built(serde_json::json!({"virtual_machines": [{"name": "a"}]}));
        assert_eq!(plain.get("runPreflightInspection"), None);
        assert_eq!(plain.get("targetPowerState"), None);
        // Unset would mean on.
        assert_eq!(plain["preserveStaticIPs"], false);
        for key in ["enableNestedVirtualization", "xfsCompatibility"] {
            assert_eq!(plain.get(key), None, "{key}");
        }
        let asked = built(serde_json::json!({
            "virtual_machines": [{"name": "a"}], "run_preflight_inspection": false, "target_power_state": "on",
            "enable_nested_virtualization": false, "xfs_compatibility": true,
        }));
        assert_eq!((&asked["enableNestedVirtualization"], &asked["xfsCompatibility"]), (&false.into(), &true.into()));
        assert_eq!((&asked["runPreflightInspection"], &asked["targetPowerState"]), (&false.into(), &"on".into()));
    }
}
