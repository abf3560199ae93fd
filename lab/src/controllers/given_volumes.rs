//! Claims without a class: nobody provisions for them. They wait for a volume without one that somebody made, and the
//! smallest that fits is theirs (`FindMatchingVolume`, component-helpers `storage/volume/pv_helpers.go`).

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec};
use kube::api::{Api, ListParams, Patch};
use kube::core::{Selector, SelectorExt as _};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::storage::{StorageOptions, tolerate};
use crate::api::quantity;
use crate::controllers::glance;

const NONE: &str = "no persistent volumes available for this claim and no storage class is set";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Whether a claim waits for such a volume. Those of CDI and of a migration get one of their own, class or not.
pub(super) fn waits(claim: &PersistentVolumeClaim, unset_too: bool) -> bool {
    let Some(spec) = &claim.spec else { return false };
    let classless = spec.storage_class_name.as_deref().map_or(unset_too, str::is_empty);
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let named = spec.volume_name.as_deref().is_some_and(|name| !name.is_empty());
    let filled = spec.data_source.is_some() || spec.data_source_ref.is_some();
    classless && !bound && !named && !filled && claim.metadata.deletion_timestamp.is_none() && !is_of_others(claim)
}

fn is_of_others(claim: &PersistentVolumeClaim) -> bool {
    let theirs = |key: &String| {
        key.contains("cdi.kubevirt.io/") || key.contains("forklift.konveyor.io/") || key == "plan" || key == "migration"
    };
    !claim.owner_references().is_empty() || claim.labels().keys().chain(claim.annotations().keys()).any(theirs)
}

/// Whether a change of this volume may matter to a claim that waits.
pub(super) fn is_free(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    phase != Some("Bound") && volume.metadata.deletion_timestamp.is_none()
}

/// Whether the volume names this claim, as somebody wrote it or as an interrupted binding left it.
fn is_meant_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(of) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    of.name.as_deref() == Some(&claim.name_any())
        && of.namespace == claim.namespace()
        && of.uid.as_ref().is_none_or(|uid| Some(uid) == claim.metadata.uid.as_ref())
}

fn bytes(volume: &PersistentVolume) -> u64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()).and_then(|all| all.get("storage"));
    capacity.and_then(|size| quantity::bytes(&size.0)).unwrap_or_default()
}

fn asked(spec: &PersistentVolumeClaimSpec) -> u64 {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.and_then(|all| all.get("storage")).and_then(|size| quantity::bytes(&size.0)).unwrap_or_default()
}

fn is_selected(spec: &PersistentVolumeClaimSpec, volume: &PersistentVolume) -> bool {
    let Some(selector) = spec.selector.clone() else { return true };
    Selector::try_from(selector).is_ok_and(|selector| selector.matches(volume.labels()))
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else { return false };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    if !is_free(volume) || mode(&has.volume_mode) != mode(&wants.volume_mode) || bytes(volume) < asked(wants) {
        return false;
    }
    if has.claim_ref.is_some() {
        return is_meant_for(volume, claim);
    }
    let available = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
    let modes = has.access_modes.as_deref().unwrap_or_default();
    available
        && has.storage_class_name.as_deref().is_none_or(str::is_empty)
        && wants.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && is_selected(wants, volume)
}

/// One that names the claim comes first, then the smallest.
fn choose<'a>(volumes: &'a [PersistentVolume], claim: &PersistentVolumeClaim) -> Option<&'a PersistentVolume> {
    let fitting = volumes.iter().filter(|volume| fits(volume, claim));
    fitting.min_by_key(|volume| (!is_meant_for(volume, claim), bytes(volume), volume.name_any()))
}

/// Binds the claim, or says that there is nothing to bind it to; it is looked at again when a volume comes.
pub(super) async fn bind(claim: &PersistentVolumeClaim, options: &StorageOptions) -> Result<Action, kube::Error> {
    let volumes: Api<PersistentVolume> = Api::all(options.client.clone());
    let all = volumes.list(&ListParams::default()).await?.items;
    match choose(&all, claim) {
        Some(volume) => take(claim, volume, options).await?,
        None => {
            let of = claim.object_ref(&());
            options.events.normal(&of, "persistentvolume-controller", "FailedBinding", NONE).await;
        }
    }
    Ok(Action::await_change())
}

async fn take(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
    options: &StorageOptions,
) -> Result<(), kube::Error> {
    let (name, volume_name) = (claim.name_any(), volume.name_any());
    let volumes: Api<PersistentVolume> = Api::all(options.client.clone());
    let of = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(), "name": name,
        "uid": claim.uid()});
    // Two claims may want it: who comes second is refused, and looks again.
    let mut patch = json!({"metadata": {"resourceVersion": volume.resource_version()}, "spec": {"claimRef": of}});
    if volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none()) {
        patch["metadata"]["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
    }
    glance::patch(&volumes, &volume_name, &Patch::Merge(patch)).await?;
    let bound: Value = json!({"status": {"phase": "Bound"}});
    tolerate(glance::patch_status(&volumes, &volume_name, &Patch::Merge(bound)).await, 404)?;
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(options.client.clone(), &claim.namespace().unwrap_or_default());
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes", BOUND_BY_CONTROLLER: "yes"});
    let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume_name}});
    tolerate(glance::patch(&claims, &name, &Patch::Merge(patch)).await, 404)?;
    let spec = volume.spec.clone().unwrap_or_default();
    let status = json!({"phase": "Bound", "capacity": spec.capacity, "accessModes": spec.access_modes});
    tolerate(glance::patch_status(&claims, &name, &Patch::Merge(json!({ "status": status }))).await, 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut claim = json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {"storageClassName": "",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
        for (field, value) in more.as_object().into_iter().flatten() {
            claim["spec"][field] = value.clone();
        }
        serde_json::from_value(claim).unwrap()
    }

    fn volume(name: &str, size: &str, more: Value) -> PersistentVolume {
        let mut volume = json!({"metadata": {"name": name, "labels": {"tier": name}}, "status": {"phase": "Available"},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}});
        for (field, value) in more.as_object().into_iter().flatten() {
            volume["spec"][field] = value.clone();
        }
        serde_json::from_value(volume).unwrap()
    }

    #[test]
    fn a_claim_without_a_class_takes_the_smallest_volume_without_one_that_fits() {
        let volumes = [
            volume("small", "1Gi", json!({})),
            volume("large", "9Gi", json!({})),
            volume("right", "3Gi", json!({})),
            volume("classy", "2Gi", json!({"storageClassName": "fast"})),
            volume("block", "2Gi", json!({"volumeMode": "Block"})),
            volume("taken", "2Gi", json!({"claimRef": {"namespace": "n", "name": "other"}})),
        ];
        let chosen = |claim: &PersistentVolumeClaim| choose(&volumes, claim).map(|v| v.name_any());
        assert_eq!(chosen(&claim(json!({}))).as_deref(), Some("right"));
        assert_eq!(chosen(&claim(json!({"selector": {"matchLabels": {"tier": "large"}}}))).as_deref(), Some("large"));
        assert_eq!(chosen(&claim(json!({"accessModes": ["ReadWriteMany"]}))), None);
        let mine = [volume("mine", "8Gi", json!({"claimRef": {"namespace": "n", "name": "c"}})), volumes[2].clone()];
        assert_eq!(choose(&mine, &claim(json!({}))).map(|v| v.name_any()).as_deref(), Some("mine"));
    }

    #[test]
    fn a_claim_of_cdi_or_of_a_migration_or_with_a_volume_does_not_wait() {
        assert!(waits(&claim(json!({})), false));
        assert!(!waits(&claim(json!({"volumeName": "v"})), false));
        assert!(!waits(&claim(json!({"dataSourceRef": {"kind": "X", "name": "x"}})), false));
        let mut unset = claim(json!({}));
        unset.spec.as_mut().unwrap().storage_class_name = None;
        assert!(waits(&unset, true) && !waits(&unset, false));
        let mut migrated = claim(json!({}));
        migrated.metadata.labels = Some([("migration".to_owned(), "m".to_owned())].into());
        assert!(!waits(&migrated, false));
    }
}
