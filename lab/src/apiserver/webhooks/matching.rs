//! Which webhooks want to see a request: rules, selectors of namespaces and of objects.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::super::State;
use super::super::resource_handlers::Call;
use super::super::selectors::label_selector_matches;
use super::super::store::{ObjectKey, metadata};
use super::ask::Question;

/// The kind of webhook, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Mutating,
    Validating,
}

/// One entry of a webhook configuration.
pub(super) struct Hook {
    pub phase: Phase,
    configuration: Arc<Value>,
    at: usize,
}

impl Hook {
    pub fn spec(&self) -> &Value {
        &self.configuration["webhooks"][self.at]
    }
    pub fn name(&self) -> &str {
        self.spec()["name"].as_str().unwrap_or_default()
    }
    /// A call that fails refuses the request, unless the webhook says that it does not matter.
    pub fn may_fail(&self) -> bool {
        self.spec()["failurePolicy"] == "Ignore"
    }

    /// Whether the selectors take the object.
    pub fn wants(&self, state: &State, question: &Question<'_>) -> bool {
        let spec = self.spec();
        if !rules_take(spec, question.call, question.operation) {
            return false;
        }
        let labels = |object: &Value| object["metadata"]["labels"].clone();
        let by_object = &spec["objectSelector"];
        let object = [&question.object, &question.old]
            .into_iter()
            .any(|object| object.is_object() && label_selector_matches(by_object, &labels(object)));
        object && self.takes_namespace(state, question)
    }

    fn takes_namespace(&self, state: &State, question: &Question<'_>) -> bool {
        let selector = &self.spec()["namespaceSelector"];
        let def = &question.call.def;
        if def.is_namespaces() {
            let object = if question.object.is_object() { &question.object } else { &question.old };
            return label_selector_matches(selector, &object["metadata"]["labels"]);
        }
        // What is in no namespace is not left out by one.
        if !def.namespaced {
            return true;
        }
        let name = question.call.target.namespace.clone().unwrap_or_default();
        let storage = (String::new(), "namespaces".to_owned());
        let namespace = state.store.get(&ObjectKey { storage, namespace: String::new(), name });
        namespace.is_none_or(|namespace| label_selector_matches(selector, &namespace["metadata"]["labels"]))
    }
}

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|item| item == "*" || item == wanted)
}

/// `plans`, `plans/status`, `*/status`, `*/*`, `*`.
fn takes_resource(resources: &Value, plural: &str, below: &str) -> bool {
    resources.as_array().into_iter().flatten().filter_map(Value::as_str).any(|text| {
        let (resource, subresource) = text.split_once('/').unwrap_or((text, ""));
        (resource == "*" || resource == plural) && (subresource == "*" || subresource == below)
    })
}

fn rules_take(spec: &Value, call: &Call, operation: &str) -> bool {
    let def = &call.def;
    let below = call.target.subresource.first().map(String::as_str).unwrap_or_default();
    spec["rules"].as_array().into_iter().flatten().any(|rule| {
        let scope = match rule["scope"].as_str().unwrap_or("*") {
            "Cluster" => !def.namespaced,
            "Namespaced" => def.namespaced,
            _ => true,
        };
        scope
            && has(&rule["operations"], operation)
            && has(&rule["apiGroups"], &def.group)
            && has(&rule["apiVersions"], &def.version)
            && takes_resource(&rule["resources"], &def.plural, below)
    })
}

/// What an operation of this method may turn out to be.
fn operations(method: &Method) -> &'static [&'static str] {
    match *method {
        Method::POST => &["CREATE"],
        Method::DELETE => &["DELETE"],
        // A PUT or an apply may create.
        _ => &["CREATE", "UPDATE"],
    }
}

/// Webhooks whose rules take the request, in the order of their configurations' names. Webhooks are
/// not asked about webhooks.
pub(super) fn hooks(state: &State, call: &Call, method: &Method) -> Vec<Hook> {
    const GROUP: &str = "admissionregistration.k8s.io";
    if call.def.group == GROUP || call.def.review {
        return Vec::new();
    }
    let kinds =
        [(Phase::Mutating, "mutatingwebhookconfigurations"), (Phase::Validating, "validatingwebhookconfigurations")];
    let mut found = Vec::new();
    for (phase, plural) in kinds {
        let (_, mut configurations) = state.store.list(&(GROUP.to_owned(), plural.to_owned()), None);
        configurations.sort_by(|a, b| metadata(a, "name").cmp(metadata(b, "name")));
        for configuration in configurations {
            for (at, spec) in configuration["webhooks"].as_array().into_iter().flatten().enumerate() {
                if operations(method).iter().any(|operation| rules_take(spec, call, operation)) {
                    found.push(Hook { phase, configuration: configuration.clone(), at });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_and_their_subresources_are_told_apart() {
        assert!(takes_resource(&json!(["plans"]), "plans", ""));
        assert!(!takes_resource(&json!(["plans"]), "plans", "status"));
        assert!(takes_resource(&json!(["*/status"]), "plans", "status"));
        assert!(takes_resource(&json!(["*/*"]), "plans", "") && takes_resource(&json!(["*"]), "plans", ""));
        assert!(!takes_resource(&json!(["*"]), "plans", "status"));
    }
}
