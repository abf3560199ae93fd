//! The simulated KubeVirt: VirtualMachines and their instances, as kube-rs controllers.
//!
//! This file reads and writes the cluster; what to write is decided by the pure functions of [`vm`],
//! [`vmi`] and [`nodes`]. Knows nothing of MTV.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::glance;
use super::storage::tolerate;
use super::told::Teller;
use crate::clock::Clock;
use crate::defects::{Defect, Defects};
use crate::guests::view;
use crate::ports::GuestDirectory;
use crate::weather::{Sky, Weather};

mod acts;
pub mod expand;
pub mod exports;
pub mod json;
mod launcher;
mod migrations;
pub mod nodes;
mod subresources;
mod users;
pub mod vm;
pub mod vmi;
mod volumes;

pub use subresources::Subresources;
use users::Users;

/// After a failed write, in real time.
const RETRY: Duration = Duration::from_millis(100);

/// What the controller works with.
pub struct KubevirtOptions {
    pub client: Client,
    pub clock: Clock,
    pub defects: Defects,
    pub sky: Sky,
    pub guests: Arc<dyn GuestDirectory>,
    /// Tells of VMs that start; where it does, instances have their pods, too.
    pub(crate) events: Teller,
    pub stop: CancellationToken,
}

struct Context {
    options: Arc<KubevirtOptions>,
    vm_users: Arc<Users>,
    vmi_users: Arc<Users>,
    /// When an instance was first seen in its phase.
    entered: Mutex<HashMap<String, (String, Instant)>>,
}

/// `VirtualMachine`, typed by name only: its spec is kept as it was written.
pub fn vm_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachine"), "virtualmachines")
}

/// `VirtualMachineInstance`.
pub fn vmi_resource() -> ApiResource {
    let gvk = GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachineInstance");
    ApiResource::from_gvk_with_plural(&gvk, "virtualmachineinstances")
}

/// Runs until `stop`.
pub async fn run(options: KubevirtOptions) {
    let options = Arc::new(options);
    let (client, stop) = (options.client.clone(), options.stop.clone());
    let moves = migrations::run(options.clone()).boxed();
    let (vm_users, vmi_users) = (Arc::<Users>::default(), Arc::<Users>::default());
    let context = Arc::new(Context {
        options,
        vm_users: vm_users.clone(),
        vmi_users: vmi_users.clone(),
        entered: Mutex::default(),
    });
    let (vms, vmis, disks) = (vm_resource(), vmi_resource(), volumes::resource());
    let config = watcher::Config::default;
    let claims = || Api::<PersistentVolumeClaim>::all(client.clone());

    let vm_controller = Controller::new_with(Api::all_with(client.clone(), &vms), config(), vms.clone());
    let vm_loop = vm_controller
        .owns_with(Api::<DynamicObject>::all_with(client.clone(), &vmis), vmis.clone(), config())
        .owns_with(Api::<DynamicObject>::all_with(client.clone(), &disks), disks, config())
        .watches(claims(), config(), move |claim| vm_users.of(&claim, &vms))
        .run(reconcile_vm, |_, error, _| retry(error), context.clone())
        .for_each(|_| async {})
        .boxed();

    let vmi_controller = Controller::new_with(Api::all_with(client.clone(), &vmis), config(), vmis.clone());
    let vmi_loop = vmi_controller
        .watches(claims(), config(), move |claim| vmi_users.of(&claim, &vmis))
        .run(reconcile_vmi, |_, error, _| retry(error), context)
        .for_each(|_| async {})
        .boxed();
    tokio::select! {
        () = stop.cancelled() => {},
        _ = futures::future::join3(vm_loop, vmi_loop, moves) => {},
    }
}

fn retry(error: &kube::Error) -> Action {
    tracing::debug!(%error, "KubeVirt will try again");
    Action::requeue(RETRY)
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Takes a 404 for done: somebody else was faster.
fn unless_gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    tolerate(result, 404)
}

/// An instance has no status subresource; a server that has one ignores the first write.
async fn write_vmi_status(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({ "status": status }));
    let ignored = |written: &DynamicObject| {
        let written = value(written);
        let took =
            |(field, wanted): (&String, &Value)| wanted.is_null() || written["status"].get(field) == Some(wanted);
        !status.as_object().into_iter().flatten().all(took)
    };
    match api.patch(name, &PatchParams::default(), &patch).await {
        Ok(written) if ignored(&written) => unless_gone(api.patch_status(name, &PatchParams::default(), &patch).await),
        other => unless_gone(other),
    }
}

async fn set_finalizers(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    finalizers: Vec<String>,
) -> Result<(), kube::Error> {
    // The version makes sure that nobody else's finalizer gets lost.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.metadata.resource_version}});
    unless_gone(glance::patch(api, &object.name_any(), &Patch::Merge(patch)).await)
}

async fn reconcile_vm(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let (client, namespace, name) =
        (&context.options.client, object.namespace().unwrap_or_default(), object.name_any());
    let vms: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &vm_resource());
    let vmis: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &vmi_resource());
    let mut vm = value(&object);
    if vm.get("metadata").is_some_and(Value::is_object) && vm.pointer("/metadata/namespace").is_none() {
        vm["metadata"]["namespace"] = json!(namespace);
    }
    let held = object.finalizers().iter().any(|f| f == vm::VM_FINALIZER);
    if !held && !vm::is_deleting(&vm) {
        let all = object.finalizers().iter().cloned().chain([vm::VM_FINALIZER.to_owned()]).collect();
        set_finalizers(&vms, &object, all).await?;
        return Ok(Action::await_change());
    }
    if !vm::is_deleting(&vm) {
        volumes::ensure(client, &vm).await?;
    }
    let instance = vmis.get_opt(&name).await?.map(|vmi| value(&vmi));
    let template = vm.pointer("/spec/template/spec").cloned().unwrap_or_default();
    context.vm_users.note(&namespace, &name, &template);
    let claims = volumes::claims(client, &namespace, &template).await?;
    let decision = vm::decide(&vm, instance.as_ref(), claims, &now());
    if decision.release {
        context.vm_users.forget(&namespace, &name, &template);
        if held {
            let rest = object.finalizers().iter().filter(|f| *f != vm::VM_FINALIZER).cloned().collect();
            set_finalizers(&vms, &object, rest).await?;
        }
        return Ok(Action::await_change());
    }
    if decision.delete_vmi {
        unless_gone(vmis.delete(&name, &DeleteParams::default()).await)?;
        launcher::instance(&context.options.events, &vm, instance.as_ref(), false).await;
    }
    if vm.get("status") != Some(&decision.status) {
        let patch = json!({"status": decision.status});
        unless_gone(glance::patch_status(&vms, &name, &Patch::Merge(patch)).await)?;
    }
    if decision.create_vmi {
        let vm = expand::expanded(client, &vm).await?;
        let rendered = serde_json::from_value(vmi::render(&vm)).map_err(kube::Error::SerdeError)?;
        match vmis.create(&PostParams::default(), &rendered).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => {
                other?;
                launcher::instance(&context.options.events, &vm, None, true).await;
            }
        }
    }
    Ok(Action::await_change())
}

async fn reconcile_vmi(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let options = &context.options;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), &namespace, &vmi_resource());
    let vmi = value(&object);
    let guest = view::current(options.guests.as_ref(), &options.defects, &vmi::macs(&vmi));
    let nodes: Vec<Value> = if json::text(&vmi, "/status/nodeName").is_empty() {
        glance::each(&Api::<Node>::all(options.client.clone()), &ListParams::default()).await?
    } else {
        Vec::new()
    };
    let spec = vmi.get("spec").unwrap_or(&Value::Null);
    context.vmi_users.note(&namespace, &name, spec);
    let claims = volumes::claims(&options.client, &namespace, spec).await?;
    let node = || nodes::choose(&nodes, &vmi, options.defects.has(Defect::WrongNode));
    let tied_by = match json::text(&vmi, "/status/phase") {
        "Scheduled" | "Running" => volumes::tied_by(&options.client, &namespace, spec).await?,
        _ => None,
    };
    let around = vmi::Around {
        claims,
        tied_by,
        node: if options.defects.has(Defect::DoesNotStart) { None } else { node() },
        guest: &guest,
        elapsed: context.elapsed(&vmi),
        agent: agent(options, guest.windows),
        pod_addresses: options.sky.has(Weather::PodAddresses),
        now: &now(),
    };
    match vmi::step(&vmi, &around) {
        vmi::Step::Rest => {
            // It may have been moved.
            launcher::follow(&options.client, &options.events, &vmi, &vmi["status"]).await?;
            Ok(Action::await_change())
        }
        vmi::Step::Wait(simulated) => Ok(Action::requeue(options.clock.real(simulated).max(Duration::from_millis(1)))),
        vmi::Step::Status(status) => {
            write_vmi_status(&api, &name, &status).await?;
            launcher::follow(&options.client, &options.events, &vmi, &status).await?;
            Ok(Action::await_change())
        }
        vmi::Step::Release => {
            let rest: Vec<String> = object.finalizers().iter().filter(|f| *f != vmi::VMI_FINALIZER).cloned().collect();
            if rest.len() < object.finalizers().len() {
                set_finalizers(&api, &object, rest).await?;
            }
            context.forget(&vmi);
            context.vmi_users.forget(&namespace, &name, spec);
            Ok(Action::await_change())
        }
    }
}

/// When the agent of a guest is connected.
fn agent(options: &KubevirtOptions, windows: bool) -> vmi::Agent {
    let from = if options.sky.has(Weather::SlowBoot) { vmi::SLOW_AGENT } else { vmi::AGENT };
    let never = options.defects.has(Defect::NoGuestAgent) || options.sky.has(Weather::NoAgent);
    let reboots = windows && options.sky.has(Weather::WindowsReboots);
    vmi::Agent { from: (!never).then_some(from), reboot: reboots.then_some((from + vmi::AGENT / 2, from + vmi::AGENT)) }
}

impl Context {
    /// Simulated time since this phase (or the deletion) was first seen.
    fn elapsed(&self, vmi: &Value) -> Duration {
        let uid = json::text(vmi, "/metadata/uid").to_owned();
        let phase = format!("{}/{}", json::text(vmi, "/status/phase"), vm::is_deleting(vmi));
        let mut all = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(uid).or_insert_with(|| (phase.clone(), Instant::now()));
        if entry.0 != phase {
            *entry = (phase, Instant::now());
        }
        entry.1.elapsed().mul_f64(self.options.clock.scale())
    }
    fn forget(&self, vmi: &Value) {
        let mut all = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(json::text(vmi, "/metadata/uid"));
    }
}

/// Now, in the seconds that Kubernetes writes.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
