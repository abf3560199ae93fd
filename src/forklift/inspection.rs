//! Deep inspections by hand: Conversions that nobody but us makes (MTV 2.12 and later).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::json;

use super::adapter::ProviderWiring;
use super::{MtvError, providers, ready};
use crate::api::condition::Conditions;
use crate::api::forklift::{Connection, Conversion, ConversionSpec, ConversionStatus, ObjRef, Ref};
use crate::cluster::apply::patch_status;
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, Tracked};
use crate::event::Problem;

/// What a VM is inspected by.
pub struct Wanted<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    /// Id and name at the source.
    pub vm: (&'a str, &'a str),
    /// Where its pod runs; its Secret is there, too.
    pub target: &'a str,
    pub vddk_image: Option<&'a str>,
}

/// The snapshot that MTV makes for it.
pub const SNAPSHOT: &str = "forklift-deep-inspection";

/// Makes the Secret and the Conversion.
pub async fn start(tracked: &Tracked, wanted: &Wanted<'_>, wiring: ProviderWiring) -> Result<(), MtvError> {
    let mut data = wiring.secret;
    data.insert("url".to_owned(), wiring.url.into());
    providers::create_secret(tracked, wanted.target, wanted.name, data).await?;
    let (id, name) = wanted.vm;
    let spec = ConversionSpec {
        type_: "DeepInspection".to_owned(),
        vm: Ref { id: Some(id.to_owned()), name: Some(name.to_owned()), ..Ref::default() },
        connection: Connection { secret: ObjRef::new(wanted.target, wanted.name) },
        target_namespace: wanted.target.to_owned(),
        vddk_image: wanted.vddk_image.map(str::to_owned),
        ..ConversionSpec::default()
    };
    let mut conversion = Conversion::new(wanted.name, spec);
    conversion.metadata.namespace = Some(wanted.namespace.to_owned());
    tracked.create(conversion).await?;
    Ok(())
}

fn told(status: &ConversionStatus) -> String {
    let parts = [status.phase.as_str(), status.stage.as_str(), &status.conditions.summary()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

async fn reach<T>(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    goal: &str,
    limit: Duration,
    mut look: impl FnMut(&ConversionStatus) -> Poll<T> + Send,
) -> Result<T, MtvError> {
    let what = format!("{goal} of Conversion {namespace}/{name}");
    let seen = wait::until(cluster, Some(namespace), name, &what, limit, |found: Option<&Conversion>| {
        match found.and_then(|conversion| conversion.status.as_ref()) {
            Some(status) => look(status),
            None => Poll::NotYet("no status yet".to_owned()),
        }
    });
    seen.await.map_err(|error| ready::product(error, format!("oc -n {namespace} describe conversion {name}")))
}

/// Waits until it has a condition.
pub async fn has_condition(cluster: &Cluster, of: (&str, &str), type_: &str, limit: Duration) -> Result<(), MtvError> {
    let look = |status: &ConversionStatus| {
        if status.conditions.holds(type_) { Poll::Done(()) } else { Poll::NotYet(told(status)) }
    };
    reach(cluster, of, &format!("the condition {type_}"), limit, look).await
}

/// Waits for its end.
pub async fn end(cluster: &Cluster, of: (&str, &str), limit: Duration) -> Result<ConversionStatus, MtvError> {
    let look = |status: &ConversionStatus| match status.phase.as_str() {
        "Succeeded" | "Failed" | "Canceled" => Poll::Done(status.clone()),
        _ => match status
            .conditions
            .iter()
            .find(|one| one.status == "True" && one.category.as_deref() == Some("Critical"))
        {
            Some(refused) => {
                let why = refused.message.clone().unwrap_or_default();
                Poll::Failed(Problem::new(format!("MTV does not inspect it: {}: {why}", refused.type_)))
            }
            None => Poll::NotYet(told(status)),
        },
    };
    reach(cluster, of, "the end", limit, look).await
}

/// Waits until its pod is there; its namespace and name.
pub async fn pod(cluster: &Cluster, of: (&str, &str), limit: Duration) -> Result<(String, String), MtvError> {
    let look =
        |status: &ConversionStatus| match status.pod.as_ref().and_then(|pod| pod.name.as_ref().map(|name| (pod, name)))
        {
            Some((pod, name)) => Poll::Done((pod.namespace.clone().unwrap_or_default(), name.clone())),
            None if matches!(status.phase.as_str(), "Succeeded" | "Failed") => {
                Poll::Failed(Problem::new(format!("it has ended before a pod was seen: {}", told(status))))
            }
            None => Poll::NotYet(told(status)),
        };
    reach(cluster, of, "the pod", limit, look).await
}

/// Cancels it: MTV takes its word from the phase.
pub async fn cancel(cluster: &Cluster, (namespace, name): (&str, &str)) -> Result<(), MtvError> {
    patch_status::<Conversion>(cluster, Some(namespace), name, &json!({"status": {"phase": "Canceled"}})).await?;
    Ok(())
}

/// Waits until a pod is gone.
pub async fn gone(cluster: &Cluster, (namespace, name): (&str, &str), limit: Duration) -> Result<(), MtvError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let what = format!("pod {namespace}/{name} of a canceled inspection to go");
    let looked = wait::poll(&what, limit, || async {
        match api.list(&kube::api::ListParams::default().fields(&format!("metadata.name={name}"))).await {
            Ok(list) if list.items.is_empty() => Poll::Done(()),
            Ok(_) => Poll::NotYet("it is there".to_owned()),
            Err(error) => Poll::NotYet(error.to_string()),
        }
    });
    looked.await.map_err(|error| ready::product(error, format!("oc -n {namespace} get pod {name}")))
}
