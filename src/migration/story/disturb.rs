//! `patch`: an object of MTV's is changed, and given back as it was from the ledger.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::Failure;
use super::super::prepared::{NETWORK_MAP, STORAGE_MAP};
use super::actor::Actor;
use crate::api::forklift::{ForkliftController, Migration, NetworkMap, Plan, Provider, StorageMap};
use crate::cleanup::borrowed::borrow;
use crate::config::steps::{Op, Operation, Patch, Patched};
use crate::event::{Level, Problem};

/// The one that MTV is configured by.
const CONTROLLER: &str = "forklift-controller";

impl Actor<'_> {
    pub(super) async fn patch(&mut self, patch: &Patch) -> Result<(), Failure> {
        let (tracked, settings) = (self.tracked(), &self.context.parts.settings);
        let limit = settings.timeouts.prepare;
        for operation in &patch.operations {
            // An absent value: the field is taken away.
            let value = match operation.op {
                Op::Remove => Value::Null,
                Op::Add | Op::Replace => operation.value.clone().unwrap_or_default(),
            };
            let path = operation.path.as_str();
            match patch.what {
                Patched::Plan => {
                    let name = &self.prepared.plan;
                    borrow::<Plan>(&tracked, Some(self.namespace()), name, path, value, limit).await?
                }
                Patched::Migration => {
                    let name = self.migration();
                    borrow::<Migration>(&tracked, Some(self.namespace()), &name, path, value, limit).await?
                }
                Patched::StorageMap => {
                    borrow::<StorageMap>(&tracked, Some(self.namespace()), STORAGE_MAP, path, value, limit).await?
                }
                Patched::NetworkMap => {
                    borrow::<NetworkMap>(&tracked, Some(self.namespace()), NETWORK_MAP, path, value, limit).await?
                }
                Patched::Provider => {
                    let provider = &self.prepared.open.provider.reference;
                    let name = provider.name.as_deref().unwrap_or_default();
                    borrow::<Provider>(&tracked, provider.namespace.as_deref(), name, path, value, limit).await?
                }
                Patched::Controller => {
                    let namespace = Some(settings.mtv_namespace.as_str());
                    borrow::<ForkliftController>(&tracked, namespace, CONTROLLER, path, value, limit).await?
                }
            };
            self.expects(patch.what, operation)?;
            self.context.note(Some(&self.cell.id), Level::Info, format!("{}: {operation}", patch.what.kind()));
        }
        Ok(())
    }

    /// What was changed on purpose is what is expected from now on.
    fn expects(&mut self, what: Patched, operation: &Operation) -> Result<(), Failure> {
        let maps = &mut self.maps;
        let changed = match what {
            Patched::Plan => change(&mut maps.plan, "/spec", operation),
            Patched::StorageMap => change(&mut maps.storage, "/spec/map", operation),
            Patched::NetworkMap => change(&mut maps.network, "/spec/map", operation),
            Patched::Migration | Patched::Provider | Patched::Controller => Ok(()),
        };
        changed.map_err(|error| {
            Failure::environment(Problem::new(format!(
                "the {} after `{operation}` can't be read: {error}",
                what.kind()
            )))
        })
    }
}

/// Does the operation on what stands at `at` of its object; what lies elsewhere is no matter of it.
fn change<T: Serialize + DeserializeOwned>(
    part: &mut T,
    at: &str,
    operation: &Operation,
) -> Result<(), serde_json::Error> {
    let Some(inside) = operation.path.strip_prefix(at).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return Ok(());
    };
    let mut value = serde_json::to_value(&*part)?;
    let new = operation.value.clone().filter(|_| operation.op != Op::Remove);
    match inside.rsplit_once('/') {
        None => value = new.unwrap_or_default(),
        Some((parent, key)) => {
            let key = key.replace("~1", "/").replace("~0", "~");
            match (value.pointer_mut(parent), new) {
                (Some(Value::Object(fields)), Some(new)) => _ = fields.insert(key, new),
                (Some(Value::Object(fields)), None) => _ = fields.remove(&key),
                _ => {}
            }
        }
    }
    *part = serde_json::from_value(value)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::forklift::PlanSpec;

    #[test]
    fn what_a_story_changes_in_a_plan_is_expected_of_it_afterwards() {
        let operation = |op: &str, path: &str, value: Value| -> Operation {
            serde_json::from_value(json!({"op": op, "path": path, "value": value})).unwrap()
        };
        let mut spec = PlanSpec::default();
        change(&mut spec, "/spec", &operation("add", "/spec/targetLabels", json!({"a": "b"}))).unwrap();
        assert_eq!(spec.target_labels.get("a").map(String::as_str), Some("b"));
        change(&mut spec, "/spec", &operation("replace", "/spec/targetLabels/a", json!("c"))).unwrap();
        assert_eq!(spec.target_labels.get("a").map(String::as_str), Some("c"));
        change(&mut spec, "/spec", &operation("remove", "/spec/targetLabels/a", Value::Null)).unwrap();
        change(&mut spec, "/spec", &operation("add", "/metadata/labels", json!({"x": "y"}))).unwrap();
        assert_eq!(spec, PlanSpec::default());
    }
}
