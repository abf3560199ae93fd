//! Which VMs and instances use a claim, so that a claim's change concerns them alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use super::vm;

/// Namespace and name.
type Place = (String, String);

/// Names of objects by the claims that their volumes name. One kind's.
#[derive(Default)]
pub(super) struct Users(Mutex<HashMap<Place, BTreeSet<String>>>);

impl Users {
    /// Notes what an object's pod spec names; before its claims are read, so that no change is missed.
    pub fn note(&self, namespace: &str, name: &str, spec: &Value) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in vm::claim_names(spec) {
            all.entry((namespace.to_owned(), claim)).or_default().insert(name.to_owned());
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str, spec: &Value) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in vm::claim_names(spec) {
            let place = (namespace.to_owned(), claim);
            if let Some(users) = all.get_mut(&place) {
                users.remove(name);
                if users.is_empty() {
                    all.remove(&place);
                }
            }
        }
    }

    /// The objects that use a claim.
    pub fn of(&self, claim: &PersistentVolumeClaim, resource: &ApiResource) -> Vec<ObjectRef<DynamicObject>> {
        let namespace = claim.namespace().unwrap_or_default();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let users = all.get(&(namespace.clone(), claim.name_any())).into_iter().flatten();
        users.map(|name| ObjectRef::new_with(name, resource.clone()).within(&namespace)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_concerns_its_users_until_they_are_gone() {
        let users = Users::default();
        let spec = json!({"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "disk"}}]});
        users.note("ns", "one", &spec);
        users.note("other", "two", &spec);
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"name": "disk", "namespace": "ns"}})).unwrap();
        let names = || users.of(&claim, &vm_resource()).into_iter().map(|user| user.name).collect::<Vec<_>>();
        assert_eq!(names(), ["one"]);
        users.forget("ns", "one", &spec);
        assert!(names().is_empty());
    }

    use super::super::vm_resource;
}
