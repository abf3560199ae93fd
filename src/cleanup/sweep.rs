//! Finding what runs left behind by what they put on it, without a ledger: the second way back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, ListParams};

use super::borrowed;
use super::kept::{self, Unknown};
use super::proof::{self, Judgement};
use crate::api::cdi::StorageProfile;
use crate::api::forklift::{ForkliftController, Hook, Migration, NetworkMap, Plan, Provider, StorageMap};
use crate::api::multus::NetworkAttachmentDefinition;
use crate::api::names::{RUN_LABEL, RunId};
use crate::cluster::apply::{code_of, dynamic_api};
use crate::cluster::connect::server_time;
use crate::cluster::{Cluster, ReadError, retry};
use crate::ledger::Thing;

/// Lists at once.
const AT_ONCE: usize = 4;

/// What a sweep looks for, in the order in which it is to be removed.
fn kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<Migration>(&()),
        ApiResource::erase::<Plan>(&()),
        ApiResource::erase::<Hook>(&()),
        ApiResource::erase::<StorageMap>(&()),
        ApiResource::erase::<NetworkMap>(&()),
        ApiResource::erase::<NetworkAttachmentDefinition>(&()),
        ApiResource::erase::<Provider>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Namespace>(&()),
    ]
}

/// What a sweep saw, and what it could not see.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub things: Vec<Thing>,
    /// What could not be asked, and why.
    pub unasked: Vec<(String, String)>,
}

/// Everything on the cluster that carries the run's label, and every setting that its annotations say it
/// holds, in the order in which it is to be removed. Whether it is the run's is judged later.
/// `mtv_namespace`: where this cluster's MTV is that runs borrow from; `None` for a cluster that is a source.
pub(super) async fn find_by_run(cluster: &Cluster, run: &RunId, mtv_namespace: Option<&str>) -> Swept {
    let selector = format!("{RUN_LABEL}={run}");
    let (found, mut unasked) = list_all(cluster, &selector).await;
    let mut things: Vec<Thing> = found
        .into_iter()
        .map(|(kind, object)| Thing::Object {
            api_version: kind.api_version,
            kind: kind.kind,
            plural: kind.plural,
            namespace: object.namespace(),
            name: object.name_any(),
            cluster: cluster.id().to_owned(),
        })
        .collect();
    // What the shipped roles allow: MTV's own switches are readable in its namespace alone.
    let mut lenders = vec![(ApiResource::erase::<Node>(&()), None), (ApiResource::erase::<StorageProfile>(&()), None)];
    lenders.extend(mtv_namespace.map(|namespace| (ApiResource::erase::<ForkliftController>(&()), Some(namespace))));
    for (kind, namespace) in lenders {
        match dynamic_api(cluster, &kind, namespace).list(&ListParams::default()).await {
            Ok(list) => things.extend(list.items.iter().flat_map(|object| settings(cluster, &kind, object, run))),
            Err(error) if code_of(&error) == Some(404) => {}
            Err(error) => unasked.push(not_asked(cluster, &kind, &error)),
        }
    }
    Swept { things, unasked }
}

/// What the run holds of one object, by the annotations on it.
fn settings(cluster: &Cluster, kind: &ApiResource, object: &DynamicObject, run: &RunId) -> Vec<Thing> {
    let held = borrowed::held_by(object, run).into_iter().filter(|(_, holder)| !holder.pointer.is_empty());
    held.map(|(id, holder)| Thing::Setting {
        api_version: kind.api_version.clone(),
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
        namespace: object.namespace(),
        name: object.name_any(),
        pointer: holder.pointer,
        before: holder.before,
        after: holder.after,
        holder: Some(id.as_str().to_owned()),
        cluster: cluster.id().to_owned(),
    })
    .collect()
}

/// Namespaces of the run that are still there, or there again.
pub async fn namespaces_of(cluster: &Cluster, run: &RunId) -> Result<Vec<String>, ReadError> {
    let kind = ApiResource::erase::<Namespace>(&());
    let params = ListParams::default().labels(&format!("{RUN_LABEL}={run}"));
    match dynamic_api(cluster, &kind, None).list(&params).await {
        Ok(list) => Ok(list.items.iter().map(ResourceExt::name_any).collect()),
        Err(error) => Err(ReadError::failed("Namespaces", retry::short(&error))),
    }
}

/// Runs by age.
#[derive(Debug, Default)]
pub(super) struct Aged {
    pub old: Vec<RunId>,
    /// What says that it is a run and does not prove it: never swept by age.
    pub unproven: Vec<(String, String)>,
    pub unasked: Vec<(String, String)>,
}

/// Runs whose youngest namespace is older than `age`, by the API server's own times and clock. Believed is
/// only a run's namespace that the Secret in it proves; labels and annotations anybody can write.
pub(super) async fn runs_older_than(cluster: &Cluster, age: Duration) -> Aged {
    let mut aged = Aged::default();
    let kind = ApiResource::erase::<Namespace>(&());
    let listed = dynamic_api(cluster, &kind, None).list(&ListParams::default().labels(RUN_LABEL)).await;
    let namespaces = match listed {
        Ok(list) => list.items,
        Err(error) => {
            aged.unasked.push(not_asked(cluster, &kind, &error));
            return aged;
        }
    };
    let now = match server_time(cluster).await {
        Ok(now) => now,
        Err(error) => {
            aged.unasked.push((format!("the clock of {}", cluster.url()), error.to_string()));
            return aged;
        }
    };
    let of_run = |object: &DynamicObject| object.labels().get(RUN_LABEL).and_then(|id| RunId::parse(id));
    let runs: BTreeSet<RunId> = namespaces.iter().filter_map(of_run).collect();
    for run in runs {
        let home = namespaces.iter().any(|namespace| namespace.name_any() == run.namespace());
        let known = match kept::find(cluster, &run).await {
            Ok(known) => known,
            Err(Unknown::NotAsked(because)) => {
                aged.unasked.push((format!("run {run}"), because));
                continue;
            }
            Err(unknown) => {
                let because = match unknown {
                    Unknown::Foreign(why) => why,
                    _ if home => "its namespace holds no secret of the run".to_owned(),
                    _ => "it has no namespace of its own".to_owned(),
                };
                aged.unproven.push((format!("run {run}"), because));
                continue;
            }
        };
        let own = namespaces.iter().filter(|namespace| {
            proof::of_object(namespace, "Namespace", &known.run, Some(&known.marker)) == Judgement::Ours
        });
        let youngest = own.filter_map(|n| n.creation_timestamp()).map(|at| at.0).max().unwrap_or(known.since);
        if now.duration_since(youngest) >= SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX) {
            aged.old.push(run);
        }
    }
    aged
}

fn not_asked(cluster: &Cluster, kind: &ApiResource, error: &kube::Error) -> (String, String) {
    (format!("{} of {}", kind.plural, cluster.url()), retry::short(error))
}

type Listed = (Vec<(ApiResource, DynamicObject)>, Vec<(String, String)>);

async fn list_all(cluster: &Cluster, selector: &str) -> Listed {
    let params = ListParams::default().labels(selector);
    let lists = stream::iter(kinds().into_iter().map(|kind| {
        let params = params.clone();
        async move {
            let listed = dynamic_api(cluster, &kind, None).list(&params).await;
            (kind, listed)
        }
    }));
    let (mut found, mut unasked) = (Vec::new(), Vec::new());
    for (kind, listed) in lists.buffered(AT_ONCE).collect::<Vec<_>>().await {
        match listed {
            Ok(list) => found.extend(list.items.into_iter().map(|item| (kind.clone(), item))),
            // Not installed: there can be none.
            Err(error) if code_of(&error) == Some(404) => {}
            Err(error) => unasked.push(not_asked(cluster, &kind, &error)),
        }
    }
    (found, unasked)
}
