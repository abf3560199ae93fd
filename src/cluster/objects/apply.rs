//! Creating and changing objects, each written to the ledger first. Removing them is `cleanup`'s.
//!
//! A create that was answered with a definite refusal leaves no entry; one whose answer was lost
//! keeps its intent, and undo looks for the object.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::strict;
use crate::api::names::{
    CELL_LABEL, CREATED_ANNOTATION, CellId, MANAGED_BY, MANAGED_BY_LABEL, MARK_ANNOTATION, RUN_LABEL,
};
use crate::cluster::{Cluster, Poll, WaitError, retry, wait};
use crate::ledger::{EntryId, Ledger, LedgerError, Thing};

/// A namespace is active within milliseconds.
const NAMESPACE_LIMIT: Duration = Duration::from_secs(60);

/// Why something was not created, changed or removed. `thing` is `Kind namespace/name`.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("failed to {verb} {thing}: {cause}")]
    Request { verb: &'static str, thing: String, cause: String, code: Option<u16> },
    #[error("{thing} exists already and is not this run's; it was left alone")]
    Foreign { thing: String },
    #[error("{thing} exists already and is being deleted")]
    Terminating { thing: String },
    #[error("{thing} is not this run's: {why}; it was not deleted")]
    NotOurs { thing: String, why: String },
    #[error("{thing} can't be proven to be this run's: {why}; it was not deleted")]
    Unproven { thing: String, why: String },
    #[error("{thing}: this API server does not know the kind, so nobody can tell whether it is gone")]
    UnknownKind { thing: String },
    #[error(
        "{thing} was changed by somebody else to {found} meanwhile; it was left so, its value before the run was {before}"
    )]
    SettingChanged { thing: String, found: String, before: String },
    #[error("{thing} is on {cluster}, not on this cluster")]
    OtherCluster { thing: String, cluster: String },
    #[error("{thing} is not on the cluster; its platform's driver removes it")]
    NotOnCluster { thing: String },
    #[error("{thing} can't be made: {cause}")]
    Malformed { thing: String, cause: String },
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl ApplyError {
    /// The HTTP status of a refused request.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request { code, .. } => *code,
            _ => None,
        }
    }

    pub(crate) fn request(verb: &'static str, thing: &str, error: &kube::Error) -> Self {
        Self::Request { verb, thing: thing.to_owned(), cause: retry::short(error), code: code_of(error) }
    }
}

/// The HTTP status that the API server answered with.
pub(crate) fn code_of(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The way to create what the run owns on a cluster: a cluster, a ledger, and whose objects these are.
/// (A platform that is a cluster makes its source VMs itself, under one entry for the whole VM.)
#[derive(Clone)]
pub struct Tracked {
    pub cluster: Cluster,
    pub ledger: Arc<Ledger>,
    /// `None`: the run's own objects.
    pub cell: Option<CellId>,
}

impl Tracked {
    pub fn new(cluster: Cluster, ledger: Arc<Ledger>, cell: Option<CellId>) -> Self {
        Self { cluster, ledger, cell }
    }

    /// Creates `object`, labelled with run and cell. 409: adopted when it is this run's, else an error.
    pub async fn create<K>(&self, object: K) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let kind = ApiResource::erase::<K>(&());
        let namespace = object.meta().namespace.clone();
        let name = object.meta().name.clone().unwrap_or_default();
        let thing = self.object(&kind, namespace.as_deref(), &name);
        let described = thing.describe();
        let malformed = |cause: String| ApplyError::Malformed { thing: described.clone(), cause };
        if name.is_empty() {
            return Err(malformed("it has no name".to_owned()));
        }
        let mut body = strict::typed(&object, &kind).map_err(|e| malformed(e.to_string()))?;
        self.mark(&mut body, &kind);
        let body: DynamicObject = serde_json::from_value(body).map_err(|e| malformed(e.to_string()))?;
        let api = dynamic_api(&self.cluster, &kind, namespace.as_deref());

        let entry = self.ledger.intent(self.cell.as_ref(), thing)?;
        self.cluster.hub().own(self.ledger.run().as_str(), &kind, namespace.as_deref(), &name);
        let made = match strict::create(&api, &body, &described, self.cluster.request_timeout()).await {
            Ok(made) => made,
            Err(error) if code_of(&error) == Some(409) => self.adopt(&api, &name, &described, entry, &error).await?,
            Err(error) => {
                if is_definite(&error) {
                    self.ledger.gone(entry)?;
                }
                return Err(ApplyError::request("create", &described, &error));
            }
        };
        self.ledger.done(entry, made.uid())?;
        self.cluster.hub().told(&kind, &made);
        wait::parse::<K>(&made, &kind).map_err(|e| malformed(format!("the answer can't be read: {e}")))
    }

    /// The object that is there already, if it is this run's.
    async fn adopt(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        described: &str,
        entry: EntryId,
        refusal: &kube::Error,
    ) -> Result<DynamicObject, ApplyError> {
        let there = match read(api, name).await {
            Ok(Some(there)) => there,
            // Gone meanwhile: the refusal stands, nothing of ours exists.
            Ok(None) => {
                self.ledger.gone(entry)?;
                return Err(ApplyError::request("create", described, refusal));
            }
            Err(error) => return Err(ApplyError::request("read", described, &error)),
        };
        let thing = described.to_owned();
        let kind = there.types.as_ref().map_or("", |types| types.kind.as_str());
        let place = place(there.namespace().as_deref(), &there.name_any());
        let wanted = self.ledger.marker().map(|marker| marker.by_id(kind, &place));
        let ours = there.labels().get(RUN_LABEL).map(String::as_str) == Some(self.ledger.run().as_str())
            && there.annotations().get(MARK_ANNOTATION) == wanted.as_ref();
        if !ours {
            self.ledger.gone(entry)?;
            return Err(ApplyError::Foreign { thing });
        }
        if there.metadata.deletion_timestamp.is_some() {
            // Ours, but going: the entry stays, undo verifies the end.
            return Err(ApplyError::Terminating { thing });
        }
        Ok(there)
    }

    /// A namespace with `labels` besides ours; waits until it is active.
    pub async fn create_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<(), ApplyError> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace.metadata.labels = Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let made = self.create(namespace).await?;
        if phase(&made) == "Active" {
            return Ok(());
        }
        let what = format!("namespace {name} to be active");
        let done = wait::until::<Namespace, ()>(&self.cluster, None, name, &what, NAMESPACE_LIMIT, |seen| match seen {
            Some(seen) if phase(seen) == "Active" => Poll::Done(()),
            Some(seen) => Poll::NotYet(format!("phase `{}`", phase(seen))),
            None => Poll::NotYet("absent".to_owned()),
        });
        Ok(done.await?)
    }

    pub(crate) fn object(&self, kind: &ApiResource, namespace: Option<&str>, name: &str) -> Thing {
        Thing::Object {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            cluster: self.cluster.id().to_owned(),
        }
    }

    /// Labels, mark and creation time.
    fn mark(&self, body: &mut Value, kind: &ApiResource) {
        let mut labels = json!({ RUN_LABEL: self.ledger.run().as_str(), MANAGED_BY_LABEL: MANAGED_BY });
        if let Some(cell) = &self.cell {
            labels[CELL_LABEL] = json!(cell.slug());
        }
        let ours = json!({
            "metadata": {
                "labels": labels,
                "annotations": { CREATED_ANNOTATION: crate::clock::now().to_string() },
            },
        });
        json_patch::merge(body, &ours);
        if let Some(marker) = self.ledger.marker() {
            let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name").unwrap_or_default());
            let mark = marker.by_id(&kind.kind, &place(namespace.as_deref(), &name));
            json_patch::merge(body, &json!({ "metadata": { "annotations": { MARK_ANNOTATION: mark } } }));
        }
    }
}

/// `namespace/name`, by which an object is marked: within one cluster nothing else has it.
pub(crate) fn place(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Merges `patch` into an object that this run may change. Not for shared settings: those are borrowed.
pub async fn patch_merge<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
    patch: &Value,
) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let described = format!("{} {}", kind.kind, place(namespace, name));
    let api = dynamic_api(cluster, &kind, namespace);
    let changed = api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|e| ApplyError::request("change", &described, &e))?;
    cluster.hub().told(&kind, &changed);
    wait::parse::<K>(&changed, &kind).map_err(|e| ApplyError::Malformed { thing: described, cause: e.to_string() })
}

/// Merges `patch` into the status of an object that this run has made.
pub async fn patch_status<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
    patch: &Value,
) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let api = dynamic_api(cluster, &kind, namespace);
    let changed = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let described = || format!("the status of {} {}", kind.kind, place(namespace, name));
    changed.map(drop).map_err(|e| ApplyError::request("change", &described(), &e))
}

/// Objects of a kind with a label selector; `namespace` `None`: of all namespaces.
pub async fn list_labelled<K>(cluster: &Cluster, namespace: Option<&str>, selector: &str) -> Result<Vec<K>, ApplyError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let api = dynamic_api(cluster, &kind, namespace);
    let described = format!("{} with {selector}", kind.plural);
    let list = api
        .list(&ListParams::default().labels(selector))
        .await
        .map_err(|e| ApplyError::request("list", &described, &e))?;
    let parsed: Result<Vec<K>, _> = list.items.iter().map(|item| wait::parse::<K>(item, &kind)).collect();
    parsed.map_err(|e| ApplyError::Malformed { thing: described, cause: e.to_string() })
}

/// The object, or `None` when it is not there. A kind that the server does not know is an error: that
/// nobody can see it does not mean that it is gone. kube's own `get_opt` goes by the reason text.
pub(crate) async fn read(api: &Api<DynamicObject>, name: &str) -> Result<Option<DynamicObject>, kube::Error> {
    match api.get(name).await {
        Ok(there) => Ok(Some(there)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a 404 tells of one object: the server then names it. One for a whole kind names nothing.
pub(crate) fn is_absent(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            status.details.as_ref().is_some_and(|details| !details.name.is_empty())
        }
        _ => false,
    }
}

/// The API of a kind known at run time; `None` for cluster-scoped kinds and for all namespaces.
pub(crate) fn dynamic_api(cluster: &Cluster, kind: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, kind),
        None => Api::all_with(cluster.client(), kind),
    }
}

/// The resource of an API version, a kind and a plural.
pub(crate) fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Refused for good: nothing was created. 408, 409 and 429 leave doubt or mean something else.
pub(crate) fn is_definite(error: &kube::Error) -> bool {
    code_of(error).is_some_and(|code| (400..500).contains(&code) && !matches!(code, 408 | 409 | 429))
}

/// The field at a JSON pointer; `None` when it is absent or null.
pub(crate) fn field(object: &DynamicObject, pointer: &str) -> Option<Value> {
    serde_json::to_value(object).ok()?.pointer(pointer).filter(|v| !v.is_null()).cloned()
}

/// A merge patch that sets only the field at `pointer`.
pub(crate) fn merge_for(pointer: &str, value: Value) -> Value {
    pointer
        .split('/')
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .fold(value, |inner, part| json!({ crate::api::text::pointer_key(part): inner }))
}

/// The patch with the version it was made for, so that a change in between is a conflict.
pub(crate) fn guarded(mut patch: Value, seen: &DynamicObject) -> Value {
    if let Some(version) = &seen.metadata.resource_version {
        json_patch::merge(&mut patch, &json!({ "metadata": { "resourceVersion": version } }));
    }
    patch
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
