//! The populator that has a storage array copy, beside the real Forklift: its controller is another executable than a
//! build's folder has. It carries nothing; it says what the real one would say, and leaves its pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams, Patch};
use kube::{Resource as _, ResourceExt};
use serde_json::json;

use super::copiers::requested;
use super::mtv::offload::array;
use super::mtv::offload::log::{Begun, Log, device};
use super::mtv::offload::populator::{TELLS, failed, file_is_delta, reach};
use super::mtv::offload::resource;
use super::pod_status::{self, Ended, Stage};
use super::storage::{StorageOptions, tolerate};
use crate::api::forklift::ForkliftController;
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;

/// Whether an array fills the claim.
pub(super) fn fills(claim: &PersistentVolumeClaim) -> bool {
    let of = claim.spec.as_ref().and_then(|spec| spec.data_source_ref.as_ref());
    of.is_some_and(|of| of.kind == "VSphereXcopyVolumePopulator")
}

/// The host that is set aside for the copy of this claim, where there is one (from 2.13 on; `runtimeHost` in
/// `pkg/lib-volume-populator/populator-machinery/controller.go`).
pub(super) async fn set_aside(
    client: &kube::Client,
    claim: &PersistentVolumeClaim,
) -> Result<Option<String>, kube::Error> {
    if !fills(claim) {
        return Ok(None);
    }
    let namespace = claim.namespace().unwrap_or_default();
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource());
    let object = objects.get_opt(&claim.name_any()).await?;
    let host = object.as_ref().and_then(|object| object.data.pointer("/spec/migrationHost")?.as_str());
    Ok(host.filter(|host| !host.is_empty()).map(str::to_owned))
}

/// Populators of one host at once where nobody says it.
const LIMIT: usize = 20;

/// Why no further populator begins on this host now (`controller_max_populator_inflight`).
pub(super) async fn waits(client: &kube::Client, host: Option<&str>) -> Result<Option<String>, kube::Error> {
    let Some(host) = host else { return Ok(None) };
    let controllers = Api::<ForkliftController>::all(client.clone()).list(&ListParams::default()).await?.items;
    let told = controllers.first().and_then(|one| one.spec.fields.get("controller_max_populator_inflight"));
    let number = told.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    let limit = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(LIMIT);
    let pods =
        Api::<Pod>::all(client.clone()).list(&ListParams::default().labels(&format!("sourceHost={host}"))).await?;
    let works = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        pod.name_any().starts_with("populate-") && !matches!(phase, "Succeeded" | "Failed")
    };
    let active = pods.items.iter().filter(works).count();
    let full = limit > 0 && active >= limit;
    Ok(full.then(|| format!("Waiting for available populator slot on host {host} ({active}/{limit} in-flight)")))
}

/// The datastore of `[datastore] folder/disk.vmdk`.
fn datastore(path: &str) -> &str {
    path.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(name, _)| name)
}

/// A disk's bytes as a metric has them, which Go writes with the shortest digits and an exponent.
fn metric(bytes: u64) -> String {
    let text = format!("{:e}", bytes as f64);
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}e+{power:0>2}")
}

/// The host copies for the populator's key; whether by XCOPY.
async fn by_ssh(
    log: &mut Log,
    options: &StorageOptions,
    keys: &BTreeMap<String, String>,
    host: &str,
    file: &str,
    claim: &str,
) -> Result<bool, String> {
    let copying = reach(log, options.guests.as_ref(), keys, host, file, claim).await?;
    let used = copying.look().await?;
    copying.clean().await?;
    Ok(used)
}

/// The copy is done: log, status and the pod's end. `false`: it failed, by what the array or the host thinks of the login.
pub(super) async fn finish(options: &StorageOptions, claim: &PersistentVolumeClaim) -> Result<bool, kube::Error> {
    let namespace = claim.namespace().unwrap_or_default();
    let (name, uid) = (claim.name_any(), claim.uid().unwrap_or_default());
    let objects: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), &namespace, &resource());
    let Some(object) = objects.get_opt(&name).await? else { return Ok(true) };
    let text = |pointer: &str| object.data.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(options.client.clone(), &namespace);
    let secret = secrets.get_opt(text("/spec/secretName")).await?.and_then(|secret| secret.data).unwrap_or_default();
    let texts = secret.into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned()));
    let keys: BTreeMap<String, String> = texts.collect();
    let told = |key: &str| keys.get(key).cloned().unwrap_or_default();
    let method = if told("ESXI_CLONE_METHOD") == "ssh" { "ssh" } else { "vib" }.to_owned();
    let file = text("/spec/vmdkPath");
    let mut used = !file_is_delta(file) && options.guests.xcopies(datastore(file));
    let host = match text("/spec/migrationHost") {
        "" => object.labels().get("sourceHost").cloned().unwrap_or_default(),
        own => own.to_owned(),
    };
    let mut log = Log::new(&name, file);
    if let Some(why) = array::incomplete(told) {
        log.refuses(&why);
    } else if let Some(why) = array::refusal(text("/spec/storageVendorProduct"), told) {
        log.fatal(&why);
    }
    if !log.text().is_empty() {
        end(options, claim, &log, false).await?;
        return Ok(false);
    }
    log.main("", "copy-offload started", "");
    let volume = format!("pvc-{uid}");
    let known = options.guests.host_name(&host);
    if known.is_none() && !text("/spec/migrationHost").is_empty() {
        log.fails(&format!("didn't find any host with id {host}"));
        end(options, claim, &log, false).await?;
        return Ok(false);
    }
    let host_name = known.unwrap_or_else(|| host.clone());
    log.begins(&Begun { method: &method, file, volume: &volume, claim: &uid, host_id: &host, host_name: &host_name });
    let copied = match method.as_str() {
        "ssh" => by_ssh(&mut log, options, &keys, &host, file, &uid).await,
        _ => {
            log.clones(file, &device(&uid), &uid);
            Ok(used)
        }
    };
    match copied {
        Ok(really) => used = really,
        Err(why) => {
            log.fails(&why);
            end(options, claim, &log, false).await?;
            return Ok(false);
        }
    }
    log.looks(100, used);
    log.gives_back();
    let since = |minor: u32| options.mtv.is_some_and(|mtv| mtv.at_least(minor));
    log.ends(since(12));
    let mut told = json!({"status": {"progress": "100"}});
    if since(12) {
        told["status"]["xcopyUsed"] = json!(if used { "1" } else { "0" });
        if method == "vib" {
            told["status"]["vibVersion"] = json!("1.0.0");
        }
    }
    if since(13) {
        let bytes = metric(requested(claim));
        let completion = [
            ("result", "success"),
            ("copyDurationSeconds", "105"),
            ("storageVendor", text("/spec/storageVendorProduct")),
            ("cloneMethod", method.as_str()),
            ("storageProtocol", "iscsi"),
            ("provisionedBytes", bytes.as_str()),
            ("allocatedBytes", bytes.as_str()),
        ];
        for (key, value) in completion {
            told["status"][key] = json!(value);
        }
        told["metadata"] = json!({"labels": {"forklift.konveyor.io/offload-completed": "true"}});
    }
    let status = Patch::Merge(told);
    tolerate(glance::patch(&objects, &name, &status).await, 404)?;
    end(options, claim, &log, true).await?;
    Ok(true)
}

/// What it printed, how it ended, and what its claim says of that.
async fn end(
    options: &StorageOptions,
    claim: &PersistentVolumeClaim,
    log: &Log,
    well: bool,
) -> Result<(), kube::Error> {
    let (namespace, pod) =
        (claim.namespace().unwrap_or_default(), format!("populate-{}", claim.uid().unwrap_or_default()));
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &namespace);
    let written = Patch::Merge(json!({"metadata": {"annotations": {LOG_ANNOTATION: log.text()}}}));
    tolerate(glance::patch(&pods, &pod, &written).await, 404)?;
    let ended = if well { Ended::Well } else { Ended::Badly(String::new()) };
    pod_status::tell_of(&pods, &pod, Stage::Over(&ended)).await?;
    let of = claim.object_ref(&());
    match well {
        true => options.events.normal(&of, TELLS, "PopulatorFinished", "Populator finished").await,
        false => options.events.warning(&of, TELLS, "PopulatorFailed", &failed(&namespace, &pod)).await,
    }
    Ok(())
}
