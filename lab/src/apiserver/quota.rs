//! Quotas: what a ResourceQuota of a namespace leaves room for, at every create in it.
//!
//! Counts what is there when somebody asks, as no quota controller runs beside: `status.used` stays empty. Known are
//! counts (`pods`, `persistentvolumeclaims` …, `count/<plural>[.<group>]`) and `requests.storage`, also by storage class.

use serde_json::Value;

use super::State;
use super::error::ApiError;
use super::resources::ResourceDef;
use crate::api::quantity;

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
    counted.then_some(1.0)
}

impl State {
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
                        "exceeded quota: {}, requested: {what}={asked}, used: {what}={used}, limited: {what}={}",
                        text(&quota["metadata"]["name"]),
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
    use super::amount;

    #[test]
    fn quantities_are_read_in_both_kinds_of_units() {
        assert_eq!(["0", "10Gi", "2k", "1500m", "x"].map(amount), [0.0, 10.0 * 1_073_741_824.0, 2000.0, 1.5, 0.0]);
    }
}
