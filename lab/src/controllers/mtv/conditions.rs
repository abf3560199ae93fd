//! Making conditions, and writing status as a controller does: through `/status`, and only on change.

use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::condition::Condition;

/// A condition that holds now.
pub fn condition(type_: &str, category: &str, reason: &str, message: impl Into<String>) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        category: Some(category.to_owned()),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: Some(message.into()),
        last_transition_time: Some(now()),
        ..Condition::default()
    }
}

/// Likewise, surviving the next reconcile.
pub fn durable(type_: &str, message: &str) -> Condition {
    Condition { durable: Some(true), ..condition(type_, "Advisory", "", message) }
}

/// RFC 3339, whole seconds, as the API server writes times.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// Keeps the transition time of conditions that did not change.
pub fn settle(mut new: Vec<Condition>, old: &[Condition]) -> Vec<Condition> {
    for condition in &mut new {
        let same = old.iter().find(|o| {
            o.type_ == condition.type_
                && Condition { last_transition_time: condition.last_transition_time.clone(), ..(*o).clone() }
                    == *condition
        });
        if let Some(same) = same {
            condition.last_transition_time.clone_from(&same.last_transition_time);
        }
    }
    new
}

/// Replaces the status of `object`. A failure is left to the next pass: the caller's loop comes again.
pub async fn write_status<K, S>(client: &Client, object: &K, status: &S) -> bool
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let patch = serde_json::json!([{"op": "add", "path": "/status", "value": status}]);
    let Ok(patch) = serde_json::from_value::<json_patch::Patch>(patch) else { return false };
    match api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Json::<()>(patch)).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(kind = %K::kind(&()), name = object.name_any(), %error, "a status was not written");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_condition_keeps_its_transition_time() {
        let mut old = condition("Ready", "Required", "", "ready");
        old.last_transition_time = Some("2020-01-01T00:00:00Z".to_owned());
        let same = settle(vec![condition("Ready", "Required", "", "ready")], &[old.clone()]);
        assert_eq!(same, [old.clone()]);
        let changed = settle(vec![condition("Ready", "Required", "", "other")], &[old.clone()]);
        assert_ne!(changed[0].last_transition_time, old.last_transition_time);
    }
}
