//! Quotas: what a ResourceQuota of a namespace leaves room for, at every create in it.
//!
//! Counts what is there when somebody asks; the status is written when the quota, or what it counts, changes. Known are
//! counts (`pods`, `persistentvolumeclaims` …, `count/<plural>[.<group>]`) and `requests.storage`, also by storage class.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::State;
use super::error::ApiError;
use super::resources::ResourceDef;
use crate::api::quantity;

/// What is counted by its plural alone (Kubernetes' `pkg/quota/v1/evaluator/core`).
const COUNTED: [&str; 7] =
    ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// What can't be read counts as nothing.
fn amount(text: &str) -> f64 {
    quantity::amount(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How much of `name` this object takes; `None`: the quota does not speak of it.
fn takes(name: &str, def: &ResourceDef, object: &Value) -> Option<f64> {
    let claim = def.group.is_empty() && def.plural == "persistentvolumeclaims";
    let storage = || amount(&text(&object["spec"]["resources"]["requests"]["storage"]));
    if let Some((class, what)) = name.split_once(".storageclass.storage.k8s.io/") {
        let own = claim && object["spec"]["storageClassName"] == class;
        return own.then(|| if what == "requests.storage" { storage() } else { 1.0 });
    }
    let counted = match name.strip_prefix("count/") {
        Some(counted) if def.group.is_empty() => counted == def.plural,
        Some(counted) => counted == format!("{}.{}", def.plural, def.group),
        None => def.group.is_empty() && name == def.plural,
    };
    if name == "requests.storage" {
        return claim.then(storage);
    }
    // Pods that have ended are no longer counted as pods (`QuotaV1Pod`).
    let ended = name == "pods" && matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    (counted && !ended).then_some(1.0)
}

/// Group and plural of what a name counts; `None` where nothing is counted.
fn counts(name: &str) -> Option<(&str, &str)> {
    if name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/") {
        return Some(("", "persistentvolumeclaims"));
    }
    match name.strip_prefix("count/") {
        Some(counted) => Some(counted.split_once('.').map_or(("", counted), |(plural, group)| (group, plural))),
        None => COUNTED.contains(&name).then_some(("", name)),
    }
}

/// An amount as a quantity is written: storage in the largest unit that it is a multiple of.
fn written(name: &str, amount: f64) -> String {
    // A sum of nothing is -0.
    let amount = amount + 0.0;
    let storage = name.ends_with("requests.storage") && amount > 0.0;
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)].map(|(unit, power)| (unit, 2f64.powi(power)));
    let unit = units.into_iter().find(|(_, size)| storage && amount % size == 0.0);
    unit.map_or_else(|| amount.to_string(), |(unit, size)| format!("{}{unit}", amount / size))
}

/// Writes the status of every quota of a namespace: what is granted, and what of it is used.
pub(super) fn recount(state: &State, namespace: &str) {
    let Some(quotas) = state.registry.find("", "v1", "resourcequotas") else { return };
    for quota in state.store.list(&quotas.storage, Some(namespace)).1 {
        let hard = quota["spec"]["hard"].as_object().cloned().unwrap_or_default();
        let used = hard.keys().filter_map(|name| Some((name.clone(), json!(state.used(namespace, name)?))));
        let status = json!({"hard": hard, "used": used.collect::<Map<_, _>>()});
        state.tell(&quotas, &quota, &status);
    }
}

impl State {
    fn used(&self, namespace: &str, name: &str) -> Option<String> {
        let (group, plural) = counts(name)?;
        let def: Arc<ResourceDef> = self.registry.stored(&(group.to_owned(), plural.to_owned()))?;
        let there = self.store.list(&def.storage, Some(namespace)).1;
        Some(written(name, there.iter().filter_map(|object| takes(name, &def, object)).sum()))
    }

    /// Refuses what a quota of its namespace has no room for, in the API server's words.
    pub(super) fn within_quota(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<(), ApiError> {
        let Some(quotas) = self.registry.find("", "v1", "resourcequotas") else { return Ok(()) };
        for quota in self.store.list(&quotas.storage, Some(namespace)).1 {
            for (what, hard) in quota["spec"]["hard"].as_object().into_iter().flatten() {
                let Some(asked) = takes(what, def, object) else { continue };
                let there = self.store.list(&def.storage, Some(namespace)).1;
                let used: f64 = there.iter().filter_map(|other| takes(what, def, other)).sum();
                if used + asked > amount(&text(hard)) {
                    let why = format!(
                        "exceeded quota: {}, requested: {what}={}, used: {what}={}, limited: {what}={}",
                        text(&quota["metadata"]["name"]),
                        written(what, asked),
                        written(what, used),
                        text(hard)
                    );
                    return Err(ApiError::forbidden(def, name, &why));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{amount, counts, written};

    #[test]
    fn a_quota_tells_storage_in_the_largest_unit_that_fits() {
        let told = |name, amount| written(name, amount);
        assert_eq!(told("requests.storage", 3.0 * 1_073_741_824.0), "3Gi");
        assert_eq!(told("fast.storageclass.storage.k8s.io/requests.storage", 1_610_612_736.0), "1536Mi");
        assert_eq!((told("pods", 2.0), told("requests.storage", -0.0)), ("2".to_owned(), "0".to_owned()));
        assert_eq!(counts("count/jobs.batch"), Some(("batch", "jobs")));
        assert_eq!(counts("requests.cpu"), None);
    }

    #[test]
    fn quantities_are_read_in_both_kinds_of_units() {
        assert_eq!(["0", "10Gi", "2k", "1500m", "x"].map(amount), [0.0, 10.0 * 1_073_741_824.0, 2000.0, 1.5, 0.0]);
    }
}
