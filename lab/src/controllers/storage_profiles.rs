//! CDI's StorageProfiles: what somebody asks for in `spec` is what `status` tells, else what CDI knows of the provisioner
//! (`pkg/controller/storageprofile-controller.go`, `reconcileStorageProfile`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{Api, Patch};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::storage::{retry, tolerate};
use crate::api::cdi::{ClaimPropertySet, StorageProfile};
use crate::controllers::glance;

struct Context {
    client: Client,
    /// What is known of each class: what its status told before anybody asked for something.
    known: Mutex<BTreeMap<String, Vec<ClaimPropertySet>>>,
}

/// Runs until it is dropped.
pub(super) async fn run(client: Client) {
    let context = Arc::new(Context { client: client.clone(), known: Mutex::default() });
    Controller::new(Api::<StorageProfile>::all(client), watcher::Config::default())
        .run(reconcile, |_, error: &kube::Error, _| retry(error), context)
        .for_each(|_| async {})
        .await;
}

async fn reconcile(profile: Arc<StorageProfile>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let name = profile.name_any();
    let told = profile.status.as_ref().map(|status| status.claim_property_sets.clone()).unwrap_or_default();
    let asked = &profile.spec.claim_property_sets;
    let wanted = if asked.is_empty() {
        let mut known = context.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name.clone()).or_insert_with(|| told.clone()).clone()
    } else {
        asked.clone()
    };
    if wanted != told {
        let patch = json!({"status": {"claimPropertySets": wanted}});
        let api: Api<StorageProfile> = Api::all(context.client.clone());
        tolerate(glance::patch_status(&api, &name, &Patch::Merge(patch)).await, 404)?;
    }
    Ok(Action::await_change())
}
