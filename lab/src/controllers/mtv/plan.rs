//! Plans: validated until they are ready, executed when a Migration asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use tokio_util::sync::CancellationToken;

use super::conditions::{condition, settle, write_status};
use super::maps::pair;
use super::patience::{Look, Patience};
use super::sources::{self, Source};
use super::validate::{self, View};
use super::{Mtv, execute, guest_conversions, hooks, populators, target, transfers, vddk};
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Hook, NetworkMap, NetworkPair, Plan, PlanStatus, Provider, Ref, StorageMap};
use crate::api::kubevirt::VirtualMachine;
use crate::controllers::objects::{Restart, one_task_each};
use crate::defects::conduct::Conduct;
use crate::inventory::model::Inventory;

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let worker = mtv.clone();
    let gone = |plan: &Plan| {
        mtv.migrations.forget(&plan.namespace().unwrap_or_default(), &plan.name_any());
        if mtv.defects.behaves(Conduct::OutlivesPlan) {
            let (own, plan) = (mtv.clone(), plan.clone());
            let late = async move { target::outlived(&destination(&own, &plan).await, &plan).await };
            mtv.afterwards.spawn(late);
        }
        if mtv.version.at_least(12) {
            let (own, plan) = (mtv.clone(), plan.clone());
            let stop = mtv.stop.clone();
            let swept = async move {
                let there = destination(&own, &plan).await;
                target::deleted(&there, &plan).await;
                if own.events.is_on() {
                    transfers::deleted(&there, &plan).await;
                }
            };
            mtv.afterwards.spawn(async move { stop.run_until_cancelled(swept).await });
        }
    };
    let ring = |plan: &Plan| mtv.migrations.ring(&plan.namespace().unwrap_or_default(), &plan.name_any());
    one_task_each(
        mtv.client.clone(),
        &(),
        Restart::Never(&ring),
        stop,
        move |plan: Plan| live(worker.clone(), &plan),
        gone,
    )
    .await;
}

/// Real time between two looks of a Plan at what it refers to, once it is ready.
const LOOK_AROUND: std::time::Duration = std::time::Duration::from_secs(30);

/// What a valid Plan refers to.
pub(super) struct Resolved {
    pub kind: &'static dyn Source,
    pub source: Provider,
    pub destination: Provider,
    pub storage: StorageMap,
    pub network: NetworkMap,
}

impl Resolved {
    fn storage_refs(&self) -> &[Ref] {
        self.storage.status.as_ref().map_or(&[], |s| s.references.as_slice())
    }
    pub(super) fn network_refs(&self) -> &[Ref] {
        self.network.status.as_ref().map_or(&[], |s| s.references.as_slice())
    }
    pub(super) fn network_rows(&self) -> &[NetworkPair] {
        &self.network.spec.map
    }
}

/// What is to be done after a look at a Plan.
enum Next {
    /// It is gone or archived.
    Ends,
    /// A Migration is executed to its end.
    Executes(BoxFuture<'static, ()>),
    /// Nothing, until a Migration comes or the spec changes.
    Rests,
    /// Something speaks against it.
    Waits,
}

/// The life of one Plan, until it is deleted (which aborts this task). Between two looks it keeps nothing but the Plan's
/// name, for there may be a thousand of them: each look is boxed, and so is an execution.
fn live(mtv: Arc<Mtv>, plan: &Plan) -> impl Future<Output = ()> + Send + use<> {
    let (namespace, name) = (plan.namespace().unwrap_or_default(), plan.name_any());
    async move {
        let bell = mtv.migrations.bell(&namespace, &name);
        let mut patience = Patience::default();
        let mut look = Look::Now;
        loop {
            // Asked for before looking, so that a Migration made meanwhile is not missed.
            let rung = bell.notified();
            let (next, changed) = look_at(&mtv, &namespace, &name, look).boxed().await;
            if changed {
                patience = Patience::default();
            }
            match next {
                Next::Ends => return,
                Next::Executes(execution) => {
                    execution.await;
                    patience = Patience::default();
                    look = Look::Now;
                }
                // What the Plan refers to may change, too: that is noticed by a look around.
                Next::Rests => tokio::select! {
                    () = rung => look = Look::Now,
                    () = tokio::time::sleep(LOOK_AROUND) => look = Look::Around,
                },
                Next::Waits => tokio::select! {
                    () = rung => {
                        patience = Patience::default();
                        look = Look::Now;
                    }
                    next = patience.again() => look = next,
                },
            }
        }
    }
}

/// One look at a Plan: what is next, and whether its status has changed.
async fn look_at(mtv: &Arc<Mtv>, namespace: &str, name: &str, look: Look) -> (Next, bool) {
    let api: Api<Plan> = Api::namespaced(mtv.client.clone(), namespace);
    let Ok(Some(plan)) = api.get_opt(name).await else { return (Next::Ends, false) };
    let old = plan.status.clone().unwrap_or_default();
    if plan.spec.archived == Some(true) {
        put_away(mtv, &plan).await;
        archive(mtv, &plan, old).await;
        return (Next::Ends, false);
    }
    let (conditions, resolved) = validate_plan(mtv, &plan, &old, look).await;
    let ready = conditions.holds("Ready");
    let status = PlanStatus {
        conditions: settle(conditions, &old.conditions),
        observed_generation: plan.metadata.generation.unwrap_or_default(),
        migration: old.migration.clone(),
    };
    let changed = status != old;
    if changed {
        write_status(&mtv.client, &plan, &status).await;
    }
    let next = match (resolved, mtv.migrations.pending(namespace, name)) {
        (Some(resolved), Some(migration)) if ready => {
            let order = execute::Order { plan, migration, resolved, base: status.conditions };
            Next::Executes(execute::execute(mtv.clone(), Box::new(order)).boxed())
        }
        _ if ready || status.conditions.holds("Succeeded") => Next::Rests,
        _ => Next::Waits,
    };
    (next, changed)
}

/// What an archived Plan has left.
async fn put_away(mtv: &Mtv, plan: &Plan) {
    let client = destination(mtv, plan).await;
    if mtv.defects.behaves(Conduct::KeepsArchivedPods) {
        return;
    }
    target::archived(&client, plan, mtv.version).await;
    hooks::archived(mtv, &client, plan).await;
    // Copy-offload's are there in every lab.
    populators::archived(&client, plan).await;
    if mtv.events.is_on() {
        vddk::archived(&client, plan).await;
        transfers::archived(&client, plan).await;
        let namespace = plan.namespace().unwrap_or_default();
        guest_conversions::archived(&mtv.client, &namespace, &plan.uid().unwrap_or_default()).await;
    }
}

/// The cluster where the Plan's VMs are made; where nobody can tell, the one that MTV runs on.
async fn destination(mtv: &Mtv, plan: &Plan) -> kube::Client {
    let reference = &plan.spec.provider.destination;
    let (namespace, name) = (reference.namespace.as_deref().unwrap_or_default(), reference.name.as_deref());
    let api: Api<Provider> = Api::namespaced(mtv.client.clone(), namespace);
    match api.get_opt(name.unwrap_or_default()).await {
        Ok(Some(provider)) => mtv.clusters.of(&provider).await.unwrap_or_else(|_| mtv.client.clone()),
        _ => mtv.client.clone(),
    }
}

async fn archive(mtv: &Mtv, plan: &Plan, mut status: PlanStatus) {
    // One that is archived is not ready any more.
    status.conditions.retain(|c| !matches!(c.type_.as_str(), "Archived" | "Ready"));
    status.observed_generation = plan.metadata.generation.unwrap_or_default();
    let mut archived = condition("Archived", "Advisory", "", "The migration plan has been archived.");
    archived.reason = Some("UserRequested".to_owned());
    status.conditions.push(archived);
    write_status(&mtv.client, plan, &status).await;
}

/// The conditions that hold now, and what the Plan refers to when nothing speaks against it.
async fn validate_plan(mtv: &Mtv, plan: &Plan, old: &PlanStatus, look: Look) -> (Vec<Condition>, Option<Resolved>) {
    let mut conditions: Vec<Condition> = old.conditions.iter().filter(|c| c.durable == Some(true)).cloned().collect();
    let ended = old.conditions.holds("Succeeded") && !mtv.defects.behaves(Conduct::RunsArrivedAgain);
    if ended {
        return (old.conditions.clone(), None);
    }
    let resolved = match resolve(mtv, plan).await {
        Ok(resolved) => resolved,
        Err(bad) => {
            conditions.extend(bad);
            return (conditions, None);
        }
    };
    conditions.extend(static_ips_on_pod_network(mtv, plan, &resolved));
    conditions.extend(hook_conditions(mtv, plan).await);
    let maps = (&resolved.source, &resolved.destination, &resolved.storage);
    conditions.extend(vddk::conditions(mtv, plan, maps).await);
    conditions.extend(vm_conditions(mtv, plan, &resolved, old, look).await);
    if conditions.blockers().is_empty() && !conditions.holds(vddk::VALIDATING) {
        conditions.push(condition("Ready", "Required", "", "The migration plan is ready."));
        (conditions, Some(resolved))
    } else {
        (conditions, None)
    }
}

async fn resolve(mtv: &Mtv, plan: &Plan) -> Result<Resolved, Vec<Condition>> {
    let (source, destination) = pair(mtv, &plan.spec.provider).await?;
    let mut bad = Vec::new();
    if plan.spec.target_namespace.is_empty() {
        bad.push(condition("NamespaceNotValid", "Critical", "NotSet", "Target namespace is not valid."));
    } else if !validate::is_dns_label(&plan.spec.target_namespace) {
        bad.push(condition("NamespaceNotValid", "Critical", "NotValid", "Target namespace is not valid."));
    }
    bad.extend(spec_conditions(mtv, plan, &source));
    bad.extend(live_conditions(mtv, plan, &source, &destination).await);
    let find = |reference: &crate::api::forklift::ObjRef| {
        (reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default())
    };
    let (ns, name) = find(&plan.spec.map.network);
    let network = Api::<NetworkMap>::namespaced(mtv.client.clone(), &ns).get_opt(&name).await.ok().flatten();
    let (ns, name) = find(&plan.spec.map.storage);
    let storage = Api::<StorageMap>::namespaced(mtv.client.clone(), &ns).get_opt(&name).await.ok().flatten();
    match &network {
        None => bad.push(condition("NetworkMapRefNotValid", "Critical", "NotFound", "Map.Network is not valid.")),
        Some(m) if !m.status.as_ref().is_some_and(|s| s.conditions.holds("Ready")) => {
            bad.push(condition("NetworkMapNotReady", "Critical", "", "Map.Network does not have Ready condition."));
        }
        Some(_) => {}
    }
    match &storage {
        None => bad.push(condition("StorageRefNotValid", "Critical", "NotFound", "Map.Storage is not valid.")),
        Some(m) if !m.status.as_ref().is_some_and(|s| s.conditions.holds("Ready")) => {
            bad.push(condition("StorageMapNotReady", "Critical", "", "Map.Storage does not have Ready condition."));
        }
        Some(_) => {}
    }
    let kind = sources::of(&source.spec.type_);
    if plan.spec.warm
        && let Some(kind) = kind
        && !kind.can_warm(mtv).await
    {
        let message = "Warm migration from the source provider is not supported.";
        bad.push(condition("WarmMigrationNotReady", "Critical", "NotSupported", message));
    }
    match (network, storage) {
        (Some(network), Some(storage)) if bad.is_empty() => {
            bad.extend(nad_rules(mtv, plan, &network));
            match kind {
                Some(kind) if bad.is_empty() => Ok(Resolved { kind, source, destination, storage, network }),
                _ => Err(bad),
            }
        }
        _ => Err(bad),
    }
}

/// Whether clusters of OpenShift can move VMs live (`MigrationType`, plan/adapter/ocp/validator.go): MTV's switch is on, and
/// the gate of KubeVirt at both ends.
async fn live_conditions(mtv: &Mtv, plan: &Plan, source: &Provider, destination: &Provider) -> Option<Condition> {
    if plan.spec.type_.as_deref() != Some("live") || source.spec.type_ != "openshift" {
        return None;
    }
    let gate = async |provider: &Provider| {
        let Ok(client) = mtv.clusters.of(provider).await else { return false };
        let kind = GroupVersionKind::gvk("kubevirt.io", "v1", "KubeVirt");
        let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::from_gvk_with_plural(&kind, "kubevirts"));
        let found = api.list(&ListParams::default()).await.ok().and_then(|list| list.items.into_iter().next());
        let gates = found.and_then(|kubevirt| {
            kubevirt.data.pointer("/spec/configuration/developerConfiguration/featureGates")?.as_array().cloned()
        });
        gates
            .unwrap_or_default()
            .iter()
            .any(|gate| gate.as_str().is_some_and(|gate| gate.eq_ignore_ascii_case("DecentralizedLiveMigration")))
    };
    let on = mtv.switch("feature_ocp_live_migration", mtv.version.at_least(11)).await;
    if on && gate(source).await && gate(destination).await {
        return None;
    }
    let message = "`live` migration from the source provider is not supported.";
    Some(condition("MigrationTypeNotValid", "Critical", "NotSupported", message))
}

/// What the Plan asks for and no MTV, or none for this source, can do.
fn spec_conditions(mtv: &Mtv, plan: &Plan, source: &Provider) -> Vec<Condition> {
    let spec = &plan.spec;
    let mut bad = Vec::new();
    if mtv.version.at_least(10) && spec.type_.as_deref() == Some("live") && source.spec.type_ != "openshift" {
        let message = "`live` migration from the source provider is not supported.";
        bad.push(condition("MigrationTypeNotValid", "Critical", "NotSupported", message));
    }
    if spec.conversion_temp_storage_class.is_some() != spec.conversion_temp_storage_size.is_some() {
        let message = "Both ConversionTempStorageClass and ConversionTempStorageSize must be specified together.";
        bad.push(condition("NotValid", "Critical", "", message));
    }
    bad
}

/// From 2.12 a NAD must be in the target namespace or in `default`.
fn nad_rules(mtv: &Mtv, plan: &Plan, map: &NetworkMap) -> Option<Condition> {
    let wrong = map.spec.map.iter().any(|row| {
        row.destination.type_ == "multus"
            && row
                .destination
                .namespace
                .as_deref()
                .is_some_and(|ns| ns != "default" && ns != plan.spec.target_namespace)
    });
    (wrong && mtv.version.at_least(12)).then(|| {
        let message = "Network attachment definition is not in the target or the default namespace.";
        condition("NetMapDestinationNADNotValid", "Critical", "NotValid", message)
    })
}

/// From 2.10 a warning; addresses are kept where the Plan does not say otherwise (the CRD's default).
fn static_ips_on_pod_network(mtv: &Mtv, plan: &Plan, resolved: &Resolved) -> Option<Condition> {
    let keeps = resolved.kind.preserves_static_ips() && plan.spec.preserve_static_ips.unwrap_or(true);
    let on_pod = resolved.network_rows().iter().any(|row| row.destination.type_ == "pod");
    (mtv.version.at_least(10) && keeps && on_pod).then(|| {
        let message = "Your migration plan preserves the static IPs of VMs and uses Pod Networking target network \
                       mapping. This combination isn't supported, because VM IPs aren't preserved in Pod Networking \
                       migrations.";
        condition("NetMapPreservingIPsOnPodNetwork", "Warn", "", message)
    })
}

async fn hook_conditions(mtv: &Mtv, plan: &Plan) -> Vec<Condition> {
    let mut bad: Vec<Condition> = Vec::new();
    for hook in plan.spec.vms.iter().flat_map(|vm| vm.hooks.iter()) {
        if !matches!(hook.step.as_str(), "PreHook" | "PostHook") {
            bad.push(condition("HookStepNotValid", "Critical", "NotValid", "Hook step not valid."));
        }
        let api: Api<Hook> = Api::namespaced(mtv.client.clone(), hook.hook.namespace.as_deref().unwrap_or_default());
        match api.get_opt(hook.hook.name.as_deref().unwrap_or_default()).await.ok().flatten() {
            None => bad.push(condition("HookNotValid", "Critical", "NotFound", "Hook not found.")),
            Some(h) if !h.status.as_ref().is_some_and(|s| s.conditions.holds("Ready")) => {
                bad.push(condition("HookNotReady", "Critical", "NotFound", "Hook does not have `Ready` condition."));
            }
            Some(_) => {}
        }
    }
    bad.dedup_by(|a, b| a.type_ == b.type_);
    bad
}

async fn vm_conditions(mtv: &Mtv, plan: &Plan, resolved: &Resolved, old: &PlanStatus, look: Look) -> Vec<Condition> {
    let Some(inventory) = seen(mtv, &resolved.source, look).await else {
        // MTV fails the reconcile and comes again; a runner sees a Plan without `Ready`.
        return vec![condition(
            "SourceProviderNotReady",
            "Critical",
            "",
            "The source provider's inventory is not loaded.",
        )];
    };
    let there = mtv.clusters.of(&resolved.destination).await.unwrap_or_else(|_| mtv.client.clone());
    let api: Api<VirtualMachine> = Api::namespaced(there, &plan.spec.target_namespace);
    let own: BTreeSet<&str> = old.migration.iter().flat_map(|m| m.vms.iter()).map(|vm| vm.id.as_str()).collect();
    let mut taken = BTreeSet::new();
    // Each name is looked up: the namespace may hold many other VMs.
    for wanted in &plan.spec.vms {
        let Some(vm) = inventory.find(wanted.id.as_deref(), wanted.name.as_deref()) else { continue };
        let name = validate::final_name(vm, wanted.target_name.as_deref());
        if let Ok(Some(there)) = api.get_opt(&name).await
            && !there.labels().get("vmID").is_some_and(|id| own.contains(id.as_str()))
            && !mtv.defects.behaves(Conduct::OverwritesNames)
        {
            taken.insert(name);
        }
    }
    let view = View {
        source: resolved.kind,
        plan,
        inventory: &inventory,
        storage_refs: resolved.storage_refs(),
        network_refs: resolved.network_refs(),
        network_rows: resolved.network_rows(),
        taken: &taken,
        version: mtv.version,
    };
    validate::vms(&view)
}

/// What the inventory holds of a provider: collected before, or asked now.
pub(super) async fn content(mtv: &Mtv, provider: &Provider) -> Option<Arc<Inventory>> {
    seen(mtv, provider, Look::Now).await
}

pub(super) async fn seen(mtv: &Mtv, provider: &Provider, look: Look) -> Option<Arc<Inventory>> {
    if sources::of(&provider.spec.type_).is_some_and(Source::live) {
        let client = super::provider::connect(mtv, provider).await.ok()?;
        return client.collect().await.ok().map(Arc::new);
    }
    let uid = provider.uid().unwrap_or_default();
    match look {
        Look::Now => mtv.db.content(&uid),
        Look::Around => mtv.db.content_as_it_is(&uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what such functions return.
    fn of_live<F>(_: fn(Arc<Mtv>, &'static Plan) -> F) -> usize {
        size_of::<F>()
    }
    fn of_execution<F>(_: fn(Arc<Mtv>, Box<execute::Order>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_plan_keeps_little_room_between_two_looks_and_its_execution_little_besides_what_it_moves() {
        let (live, execution) = (of_live(live), of_execution(execute::execute));
        println!("live: {live}, execution: {execution}");
        assert!(live < 1024 && execution < 2048, "{live} and {execution} bytes");
    }
}
