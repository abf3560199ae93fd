//! Fields of shared objects that a run borrows from its clusters while it lasts; its end gives them back from the ledger.

use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::Failure;
use super::context::RunContext;
use crate::api::cdi::StorageProfile;
use crate::api::forklift::ForkliftController;
use crate::cleanup::borrowed::borrow;
use crate::cluster::objects::routes::whole;
use crate::cluster::{Cluster, Poll, target, wait};
use crate::event::Level;

/// The class whose StorageProfile is borrowed: the suite's own name for it.
const NFS: &str = "nfs";
const SETS: &str = "/spec/claimPropertySets";

impl RunContext {
    /// Sets the precopy interval for the run.
    pub(super) async fn borrow_precopy_interval(&self) -> Result<(), Failure> {
        let set = async || {
            let settings = &self.parts.settings;
            let minutes = settings.snapshots_interval;
            let borrowed = borrow::<ForkliftController>(
                &self.tracked(None),
                Some(&settings.mtv_namespace),
                "forklift-controller",
                "/spec/controller_precopy_interval",
                json!(minutes),
                settings.timeouts.prepare,
            )
            .await?;
            if borrowed.is_some() {
                let message =
                    format!("precopy interval of {} set to {minutes} minutes for this run", settings.mtv_namespace);
                self.note(None, Level::Info, message);
            }
            Ok(())
        };
        self.precopy.get_or_make(set).await
    }

    /// Where VMs go to the class `nfs`, its StorageProfile says ReadWriteOnce and Filesystem for the run, once a cluster,
    /// as the Python suite has it: CDI knows nothing of most NFS provisioners, and claims without modes are refused.
    pub(super) async fn borrow_nfs_profile(&self, cluster: &Cluster, class: &str) -> Result<(), Failure> {
        if class != NFS || !self.parts.settings.borrow_nfs_profile {
            return Ok(());
        }
        let shared = {
            let mut nfs = self.nfs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(nfs.entry(cluster.id().to_owned()).or_default())
        };
        shared.get_or_make(async || self.lend_nfs(cluster).await).await
    }

    async fn lend_nfs(&self, cluster: &Cluster) -> Result<(), Failure> {
        let (modes, volume) = (vec!["ReadWriteOnce".to_owned()], "Filesystem");
        let is_so = async || match target::storage_defaults(cluster, NFS).await {
            Ok((now, mode)) if now == modes && mode.as_deref() == Some(volume) => Ok(()),
            Ok((now, mode)) => Err(format!("{} {}", now.join(", "), mode.unwrap_or_default())),
            Err(why) => Err(why.to_string()),
        };
        let there = whole::<StorageProfile>(cluster, None, NFS).await.ok().flatten();
        // What others have written there may be lent, too: then we hold it with them.
        let written = there.is_some_and(|profile| profile.pointer(SETS).is_some());
        if !written && is_so().await.is_ok() {
            return Ok(());
        }
        let limit = self.parts.settings.timeouts.prepare;
        let sets = json!([{"accessModes": modes, "volumeMode": volume}]);
        let borrowed =
            match borrow::<StorageProfile>(&self.tracked_at(cluster, None), None, NFS, SETS, sets, limit).await {
                Ok(borrowed) => borrowed,
                Err(error) if matches!(error.code(), Some(403 | 404)) => {
                    self.note(None, Level::Warning, format!("the StorageProfile {NFS} stays as it is: {error}"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
        let what = format!("CDI to take up the claim property sets of StorageProfile {NFS}");
        wait::poll(&what, limit, || async { is_so().await.map_or_else(Poll::NotYet, Poll::Done) }).await?;
        if borrowed.is_some() {
            let message =
                format!("StorageProfile {NFS} of {} set to ReadWriteOnce, {volume} for this run", cluster.url());
            self.note(None, Level::Info, message);
        }
        Ok(())
    }
}
