//! `kill`, and what else goes wrong on purpose: a quota, and what a lab can play.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use serde_json::Value;

use super::super::Failure;
use super::actor::Actor;
use crate::cleanup;
use crate::cleanup::borrowed::borrow;
use crate::cluster::Cluster;
use crate::cluster::apply::{list_labelled, resource};
use crate::cluster::objects::routes::whole;
use crate::cluster::wait::{self, Poll};
use crate::config::steps::{Fault, Faulty, Kill, Killed};
use crate::event::{Level, Problem};

/// The Deployment whose pod migrates.
const CONTROLLER: &str = "forklift-controller";
/// Where a Node says that nothing new may come.
const CORDON: &str = "/spec/unschedulable";
/// What the quota of a `fault` step is called; it is alone in the cell's namespace.
const QUOTA: &str = "mtv-matrix-quota";

impl Actor<'_> {
    /// Kills the pods as soon as there are such that work, and says which.
    pub(super) async fn kill(&self, kill: &Kill, limit: Duration) -> Result<(), Failure> {
        let own = &self.context.parts;
        let (cluster, namespace) = match kill.what {
            Killed::Controller => (&own.cluster, own.settings.mtv_namespace.as_str()),
            Killed::VirtV2v | Killed::Importer | Killed::Populator => self.target(),
        };
        let vms: BTreeSet<String> = self.named(kill.vm.as_ref())?.iter().map(|vm| vm.reference.id.clone()).collect();
        let controller = match kill.what {
            Killed::Controller => self.controller_labels().await?,
            Killed::VirtV2v | Killed::Importer | Killed::Populator => Vec::new(),
        };
        let what = format!("a pod of {} to kill in {namespace}", kill.what.name());
        let found = working(cluster, namespace, &vms, &what, limit, |pod, claims| match kill.what {
            Killed::Controller => controller.iter().all(|(key, value)| pod.labels().get(key) == Some(value)),
            Killed::VirtV2v => is_app(pod, "virt-v2v") && is_of(pod, &vms),
            Killed::Importer => is_importer(pod) && is_of_claim(pod, claims),
            Killed::Populator => pod.name_any().starts_with("populate-") && is_of_claim(pod, claims),
        });
        for pod in found.await? {
            let name = pod.name_any();
            let was = cleanup::kill(cluster, namespace, &name, pod.uid().as_deref()).await?;
            let message = if was { format!("pod {name} killed") } else { format!("pod {name} had ended by itself") };
            self.context.note(Some(&self.cell.id), Level::Info, message);
        }
        Ok(())
    }

    fn target(&self) -> (&Cluster, &str) {
        (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str())
    }

    /// Drains the nodes on which pods copy for the Plan's VMs: they take no further pod, and those pods are asked away.
    /// Nobody else's are: this is told on a lab alone.
    pub(super) async fn drain(&mut self, fault: &Fault, limit: Duration) -> Result<(), Failure> {
        let tracked = self.tracked();
        if fault.over {
            for node in std::mem::take(&mut self.told.drained) {
                borrow::<Node>(&tracked, None, &node, CORDON, Value::Null, limit).await?;
            }
            return Ok(());
        }
        let vms: BTreeSet<String> = self.prepared.vms.iter().map(|vm| vm.reference.id.clone()).collect();
        let (cluster, namespace) = self.target();
        let what = format!("a pod that copies, on a node, in {namespace}");
        let found = working(cluster, namespace, &vms, &what, limit, |pod, claims| {
            node_of(pod).is_some() && is_of_claim(pod, claims)
        });
        let found = found.await?;
        let nodes: BTreeSet<String> = found.iter().filter_map(|pod| node_of(pod)).map(str::to_owned).collect();
        for node in &nodes {
            borrow::<Node>(&tracked, None, node, CORDON, Value::Bool(true), limit).await?;
        }
        for pod in &found {
            let (name, node) = (pod.name_any(), node_of(pod).unwrap_or_default());
            let was = cleanup::evict(cluster, namespace, &name, pod.uid().as_deref()).await?;
            let message =
                format!("node {node} drained: pod {name} {}", if was { "evicted" } else { "had ended by itself" });
            self.context.note(Some(&self.cell.id), Level::Info, message);
        }
        self.told.drained.extend(nodes);
        Ok(())
    }

    async fn controller_labels(&self) -> Result<Vec<(String, String)>, Failure> {
        let own = &self.context.parts;
        let namespace = own.settings.mtv_namespace.as_str();
        let unknown =
            |why: String| Failure::environment(Problem::new(format!("Deployment {namespace}/{CONTROLLER}: {why}")));
        let found = whole::<Deployment>(&own.cluster, Some(namespace), CONTROLLER).await;
        let found =
            found.map_err(|error| unknown(error.to_string()))?.ok_or_else(|| unknown("it is not there".to_owned()))?;
        let labels = found.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let labels: Vec<_> = labels.into_iter().flatten().filter_map(text).collect();
        if labels.is_empty() { Err(unknown("it selects no pods by labels".to_owned())) } else { Ok(labels) }
    }

    /// What goes wrong on a cluster of any kind, by its own means.
    pub(super) async fn quota(&self, fault: &Fault, limit: Duration) -> Result<(), Failure> {
        let namespace = self.prepared.target_namespace.clone();
        if fault.over {
            return self.undo_one("ResourceQuota", Some(&namespace), QUOTA, limit).await;
        }
        let none = std::collections::BTreeMap::from([("persistentvolumeclaims".to_owned(), Quantity("0".to_owned()))]);
        let quota = ResourceQuota {
            metadata: ObjectMeta { name: Some(QUOTA.to_owned()), namespace: Some(namespace), ..ObjectMeta::default() },
            spec: Some(ResourceQuotaSpec { hard: Some(none), ..ResourceQuotaSpec::default() }),
            ..ResourceQuota::default()
        };
        let there = crate::cluster::Tracked::new(
            self.prepared.destination.cluster.clone(),
            self.context.parts.ledger.clone(),
            Some(self.cell.id.clone()),
        );
        there.create(quota).await?;
        Ok(())
    }

    /// The claims of the Plan's VMs, by their UIDs.
    pub(super) async fn claims(&self, ids: &[String]) -> Result<BTreeSet<String>, Failure> {
        let (cluster, namespace) = (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str());
        let all: Vec<PersistentVolumeClaim> = list_labelled(cluster, Some(namespace), "vmID").await?;
        let wanted = |claim: &PersistentVolumeClaim| {
            let id = claim.labels().get("vmID");
            id.is_some_and(|id| self.prepared.vms.iter().any(|vm| vm.reference.id == *id))
                && (ids.is_empty() || id.is_some_and(|id| ids.contains(id)))
                && !claim.name_any().starts_with("prime-")
        };
        Ok(all.iter().filter(|claim| wanted(claim)).filter_map(|claim| claim.uid()).collect())
    }

    /// Judges `expect: {pvcs: kept}`.
    pub(super) async fn claims_kept(&self, ids: &[String]) -> Result<(), Failure> {
        let now = self.claims(ids).await?;
        let all = self.claims(&[]).await?;
        let Some(before) = &self.told.claims else {
            let message =
                "`pvcs: kept` has nothing to compare with: no `resume`, `retry`, `archive` or `delete` came before";
            return Err(Failure::environment(Problem::new(message)));
        };
        // Those of other VMs are none of its matter; they are known by now alone.
        let others: BTreeSet<&String> = all.difference(&now).collect();
        let before: BTreeSet<&String> = before.iter().filter(|uid| !others.contains(uid)).collect();
        if before.is_empty() {
            return Err(Failure::product(Problem::new(
                "expected the VMs' claims to be kept, but there were none before",
            )));
        }
        if now.iter().collect::<BTreeSet<_>>() == before {
            return Ok(());
        }
        let gone = before.iter().filter(|uid| !now.contains(**uid)).count();
        let new = now.iter().filter(|uid| !before.contains(uid)).count();
        let message = format!(
            "expected the VMs' {} claims to be kept, but {gone} of them are gone and {new} are new",
            before.len()
        );
        Err(Failure::product(Problem::new(message)))
    }
}

/// Waits until pods work that are `wanted`, told by themselves and by the claims of these VMs.
async fn working(
    cluster: &Cluster,
    namespace: &str,
    vms: &BTreeSet<String>,
    what: &str,
    limit: Duration,
    wanted: impl Fn(&DynamicObject, &BTreeSet<String>) -> bool + Sync,
) -> Result<Vec<Arc<DynamicObject>>, Failure> {
    let pods = resource("v1", "Pod", "pods");
    let claims = ApiResource::erase::<PersistentVolumeClaim>(&());
    // The claims come and go while it is waited for: a populator's pod is called after its own.
    let known = cluster.hub().join_all(&cluster.client(), &claims, Some(namespace));
    let found = wait::until_some(cluster, &pods, Some(namespace), what, limit, |all| {
        let of = known.all().unwrap_or_default();
        let claims: BTreeSet<String> = of.iter().filter(|claim| is_of(claim, vms)).filter_map(|c| c.uid()).collect();
        let found = all.iter().filter(|pod| wanted(pod, &claims));
        let (working, over): (Vec<_>, Vec<_>) = found.partition(|pod| works(pod));
        if working.is_empty() {
            Poll::NotYet(format!("{} pods, of which {} have ended", all.len(), over.len()))
        } else {
            Poll::Done(working.into_iter().cloned().collect::<Vec<_>>())
        }
    });
    let look_at = format!("oc -n {namespace} get pods");
    found.await.map_err(|error| Failure::product(error.problem().look_at(look_at)))
}

fn node_of(pod: &DynamicObject) -> Option<&str> {
    pod.data.pointer("/spec/nodeName").and_then(Value::as_str).filter(|node| !node.is_empty())
}

impl Faulty {
    /// Why no lab of this run can play it; `None`: one can, or none is needed.
    pub(in crate::migration) fn unplayed(
        self,
        context: &super::super::RunContext,
        platform: crate::config::Platform,
    ) -> Option<String> {
        if !self.is_of_the_lab() {
            return None;
        }
        match &context.parts.levers {
            None => Some("the lab alone can play its step `fault`: add --lab".to_owned()),
            Some(levers) if !levers.plays(self, platform) => {
                Some(format!("the lab can't play its step `fault` on {platform}: {}", self.words()))
            }
            Some(_) => None,
        }
    }
}

fn is_app(pod: &DynamicObject, app: &str) -> bool {
    pod.labels().get("forklift.app").is_some_and(|value| value == app)
}

fn is_importer(pod: &DynamicObject) -> bool {
    pod.labels().get("app").is_some_and(|app| app == "containerized-data-importer")
}

/// By MTV's label.
fn is_of(object: &DynamicObject, vms: &BTreeSet<String>) -> bool {
    object.labels().get("vmID").is_some_and(|id| vms.contains(id))
}

/// CDI and populators call a pod after the UID of the claim that it fills (`importer-prime-<uid>`, `populate-<uid>`);
/// an importer without a second claim has that one as its owner.
fn is_of_claim(pod: &DynamicObject, claims: &BTreeSet<String>) -> bool {
    let name = pod.name_any();
    claims.iter().any(|uid| name.contains(uid.as_str()))
        || pod.owner_references().iter().any(|owner| claims.contains(&owner.uid))
}

fn works(pod: &DynamicObject) -> bool {
    let phase = pod.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending");
    pod.metadata.deletion_timestamp.is_none() && phase == "Running"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, labels: Value, phase: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "status": {"phase": phase}}))
        .unwrap()
    }

    #[test]
    fn a_pod_is_known_by_mtvs_label_or_by_the_claim_that_it_is_called_after() {
        let (vms, claims) = (BTreeSet::from(["vm-1".to_owned()]), BTreeSet::from(["u-1".to_owned()]));
        let v2v = pod("p", json!({"forklift.app": "virt-v2v", "vmID": "vm-1"}), "Running");
        assert!(is_app(&v2v, "virt-v2v") && is_of(&v2v, &vms) && works(&v2v));
        assert!(!is_of(&pod("p", json!({"vmID": "vm-2"}), "Running"), &vms));
        let importer = pod("importer-prime-u-1", json!({"app": "containerized-data-importer"}), "Succeeded");
        assert!(is_importer(&importer) && is_of_claim(&importer, &claims) && !works(&importer));
        assert!(!is_of_claim(&pod("importer-prime-u-2", json!({}), "Running"), &claims));
    }
}
