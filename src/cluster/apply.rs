//! Creating, changing and removing objects, each written to the ledger first.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use super::Cluster;
use crate::api::names::CellId;
use crate::ledger::{Ledger, OpenEntry};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{0}")]
    Placeholder(String),
}

/// The only way to create: a cluster, a ledger, and whose objects these are.
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
        let _ = object;
        unimplemented!()
    }

    /// A namespace with `labels` besides ours.
    pub async fn create_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<(), ApplyError> {
        let _ = (name, labels);
        unimplemented!()
    }

    /// Changes one field of a shared object and remembers its former value; `Ok(None)` when it already had it.
    /// `K` names the object; `pointer` is a JSON pointer.
    pub async fn borrow_setting<K>(
        &self,
        namespace: Option<&str>,
        name: &str,
        pointer: &str,
        value: serde_json::Value,
    ) -> Result<Option<crate::ledger::EntryId>, ApplyError>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let _ = (namespace, name, pointer, value);
        unimplemented!()
    }
}

/// Undoes one ledger entry that lives on the cluster (an object or a setting), verifies it, writes *gone*.
/// Never deletes an object without this run's label.
pub async fn undo(cluster: &Cluster, ledger: &Ledger, entry: &OpenEntry, limit: Duration) -> Result<(), ApplyError> {
    let _ = (cluster, ledger, entry, limit);
    unimplemented!()
}
