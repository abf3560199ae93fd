//! OpenShift Virtualization as a source: VMs are made for the cell, from a golden image.
//!
//! Speaks through `cluster`: the run's own, or a second one by URL and token. A source VM lives in
//! a namespace of its own name, so that removing it is removing the namespace, on either cluster,
//! and nothing else is ever touched. The name that a scenario gives a VM is only the head of its
//! name here: every VM boots the profile's DataSource. Reading never changes power.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::OnceCell;

use super::{About, CloneRequest, DriverOptions, SourceDriver, SourceError, SourceNetwork, VmRef};
use crate::api::condition::Conditions;
use crate::api::kubevirt::{VirtualMachine, VirtualMachineInstance};
use crate::api::names::{MARK_ANNOTATION, RUN_LABEL};
use crate::api::openshift::ClusterVersion;
use crate::api::vm::{Power, SourceVm};
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, ClusterError, Limits, WaitError, retry};
use crate::config::{Credentials, OpenshiftConfig, Platform, PlatformConfig, ProviderProfile};
use crate::ledger::Ledger;
use crate::ledger::mark::{Claim, Judgement, Shown, note_of};

mod create;
mod describe;

/// Label of a source VM's namespace; its value is the profile's name as a label.
const SOURCE_LABEL: &str = "mtv-matrix.io/source-profile";

/// The kind under which a source VM's namespace is marked. Its name is its identity: a copy has another.
const NAMESPACE: &str = "Namespace";
/// Other writers may get in between; more often than this is a fight.
const CONFLICT_TRIES: usize = 5;

fn note(namespace: &Namespace) -> Option<String> {
    let run = namespace.labels().get(RUN_LABEL).filter(|_| namespace.labels().contains_key(SOURCE_LABEL));
    note_of(run.map(String::as_str), namespace.annotations().get(MARK_ANNOTATION).map(String::as_str))
}

/// The driver of one profile.
pub struct OpenshiftDriver {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    config: OpenshiftConfig,
    /// The second cluster, connected when it is first needed.
    second: OnceCell<Cluster>,
    /// Generated guest passwords by VM name.
    passwords: Mutex<HashMap<String, SecretString>>,
}

impl OpenshiftDriver {
    pub fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Result<Self, SourceError> {
        let PlatformConfig::Openshift(config) = &profile.config else {
            return Err(SourceError::Unsupported {
                profile: profile.name.clone(),
                platform: profile.platform,
                what: "driving it as OpenShift".to_owned(),
            });
        };
        Ok(Self { config: config.clone(), profile, options, second: OnceCell::new(), passwords: Mutex::default() })
    }

    /// The cluster that holds the source VMs.
    async fn cluster(&self) -> Result<&Cluster, SourceError> {
        if self.config.token.is_some() {
            return self.second.get_or_try_init(|| self.connect_second()).await;
        }
        self.options.cluster.as_ref().ok_or_else(|| self.failed("find the source", "the run has no cluster"))
    }

    async fn connect_second(&self) -> Result<Cluster, SourceError> {
        let (url, profile) = (self.profile.api_url.clone(), self.profile.name.clone());
        let Some(token) = self.config.token.clone() else {
            return Err(self.failed("log in", "the profile has no token"));
        };
        let unreachable =
            |cause: String| SourceError::Unreachable { profile: profile.clone(), endpoint: url.clone(), cause };
        let timeouts = &self.options.timeouts;
        let ca = match &self.profile.ca_pem {
            Some(pem) => Some(pem.clone()),
            None if self.options.insecure => None,
            // As for the Provider's Secret: what the endpoint presents is trusted on first use.
            None => {
                let parsed = url::Url::parse(&url).map_err(|e| unreachable(format!("`api_url` is not a URL: {e}")))?;
                let host = parsed.host_str().unwrap_or_default();
                let port = parsed.port_or_known_default().unwrap_or(443);
                Some(super::fetch_ca(host, port, timeouts.connect).await.map_err(|e| unreachable(e.to_string()))?)
            }
        };
        // `qps` is about the cluster that is migrated to.
        let limits = Limits { connect: timeouts.connect, request: timeouts.request, qps: 0 };
        let connect = Cluster::from_parts(&url, ca.as_deref(), token, self.options.insecure, limits);
        match tokio::time::timeout(timeouts.connect, connect).await {
            Err(_) => Err(unreachable(format!("no answer within {:?}", timeouts.connect))),
            Ok(Err(ClusterError::Unauthorized { .. })) => Err(SourceError::Login {
                profile,
                endpoint: url,
                username: "the holder of `token`".to_owned(),
                cause: "the token is wrong or has expired (401)".to_owned(),
            }),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Ok(Ok(cluster)) => Ok(cluster),
        }
    }

    async fn client(&self) -> Result<Client, SourceError> {
        Ok(self.cluster().await?.client())
    }

    fn failed(&self, what: impl Into<String>, cause: impl Into<String>) -> SourceError {
        SourceError::Operation { profile: self.profile.name.clone(), what: what.into(), cause: cause.into() }
    }

    fn refused(&self, what: impl Into<String>, error: &kube::Error) -> SourceError {
        self.failed(what, retry::short(error))
    }

    fn waited(&self, what: &str, error: WaitError) -> SourceError {
        match error {
            WaitError::Timeout { what, waited, last } => {
                SourceError::Timeout { profile: self.profile.name.clone(), what, waited, last }
            }
            other => self.failed(what, other.to_string()),
        }
    }

    fn source_label(&self) -> String {
        crate::api::names::dns_label(&self.profile.name, crate::api::names::MAX_LABEL)
    }

    async fn get_vm(&self, name: &str) -> Result<Option<VirtualMachine>, SourceError> {
        let api: Api<VirtualMachine> = Api::namespaced(self.client().await?, name);
        api.get_opt(name).await.map_err(|e| self.refused(format!("read VM {name}/{name}"), &e))
    }

    async fn require_vm(&self, name: &str) -> Result<VirtualMachine, SourceError> {
        self.get_vm(name).await?.ok_or_else(|| SourceError::NotFound {
            profile: self.profile.name.clone(),
            kind: "VM".to_owned(),
            name: format!("{name}/{name}"),
            hint: String::new(),
        })
    }

    /// The namespace of a source VM and whose it is; `None` where there is none.
    async fn claimed(&self, claim: &Claim<'_>) -> Result<Option<(Namespace, Judgement)>, SourceError> {
        let (name, api): (_, Api<Namespace>) = (claim.name, Api::all(self.client().await?));
        let found = api.get_opt(name).await.map_err(|e| self.refused(format!("read namespace {name}"), &e))?;
        Ok(found.map(|found| {
            let note = note(&found);
            let judgement = claim.judge(Shown { kind: NAMESPACE, name, id: name, note: note.as_deref() });
            (found, judgement)
        }))
    }

    /// Waits until the VM is `Running` or `Stopped`.
    async fn wait_power(&self, vm: &VmRef, on: bool, limit: Duration) -> Result<(), SourceError> {
        let wanted = if on { "Running" } else { "Stopped" };
        let what = format!("source VM {0}/{0} to be {wanted}", vm.name);
        let cluster = self.cluster().await?;
        wait::until(cluster, Some(&vm.name), &vm.name, &what, limit, |found: Option<&VirtualMachine>| {
            let now = found.and_then(|f| f.status.as_ref()).map_or("absent", |s| s.printable_status.as_str());
            if now == wanted { Poll::Done(()) } else { Poll::NotYet(now.to_owned()) }
        })
        .await
        .map_err(|e| self.waited(&format!("power {} {}", vm.name, if on { "on" } else { "off" }), e))
    }
}

/// The power of a VM by its `printableStatus`.
fn power_of(vm: &VirtualMachine) -> Power {
    match vm.status.as_ref().map_or("", |s| s.printable_status.as_str()) {
        "Running" => Power::On,
        "Stopped" => Power::Off,
        "" => Power::Other("unknown".to_owned()),
        other => Power::Other(other.to_owned()),
    }
}

#[async_trait]
impl SourceDriver for OpenshiftDriver {
    fn platform(&self) -> Platform {
        Platform::Openshift
    }

    async fn connect(&self) -> Result<About, SourceError> {
        let cluster = self.cluster().await?;
        let versions: Api<ClusterVersion> = Api::all(cluster.client());
        let version = match versions.get_opt("version").await {
            Ok(found) => found.and_then(|v| v.status).map(|s| s.desired.version).unwrap_or_default(),
            // A plain Kubernetes with KubeVirt does not have the kind.
            Err(kube::Error::Api(status)) if status.code == 404 => String::new(),
            Err(error) => return Err(self.refused(format!("read the version of {}", cluster.url()), &error)),
        };
        let product = if version.is_empty() { "KubeVirt" } else { "OpenShift" }.to_owned();
        let facts = BTreeMap::from([("url".to_owned(), cluster.url().to_owned())]);
        Ok(About { product, version, facts })
    }

    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        let found = self.get_vm(name).await?;
        Ok(found.map(|vm| VmRef { id: vm.uid().unwrap_or_default(), name: vm.name_any() }))
    }

    /// What a VM will have, whatever its name.
    async fn networks_of(&self, _: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        let named = |name: &str| SourceNetwork { id: name.to_owned(), name: name.to_owned() };
        let extra = self.config.extra_nic.then(|| named(create::NAD));
        Ok(std::iter::once(named(describe::POD)).chain(extra).collect())
    }

    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        self.create(&request, ledger).await
    }

    /// On: KubeVirt is told to keep it running, and it is waited for as long as for a guest to come
    /// up. Off: the guest gets its grace period, then KubeVirt destroys the domain.
    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        let machine = self.require_vm(&vm.name).await?;
        let already = if on { Power::On } else { Power::Off };
        if power_of(&machine) == already {
            return Ok(format!("was {already} already"));
        }
        let strategy = if on { "Always" } else { "Halted" };
        let patch = if machine.spec.fields.get("running").is_some_and(serde_json::Value::is_boolean) {
            json!({"spec": {"running": on}})
        } else {
            json!({"spec": {"runStrategy": strategy}})
        };
        let what = format!("power {} {}", vm.name, if on { "on" } else { "off" });
        let api: Api<VirtualMachine> = Api::namespaced(self.client().await?, &vm.name);
        api.patch(&vm.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|e| self.refused(what.as_str(), &e))?;
        let timeouts = &self.options.timeouts;
        let limit = if on { timeouts.power.max(timeouts.guest_agent) } else { timeouts.power };
        self.wait_power(vm, on, limit).await?;
        Ok(if on { "powered on" } else { "shut down" }.to_owned())
    }

    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        let what = format!("the guest agent of source VM {0}/{0}", vm.name);
        let cluster = self.cluster().await?;
        wait::until(cluster, Some(&vm.name), &vm.name, &what, limit, |found: Option<&VirtualMachineInstance>| {
            let Some(status) = found.and_then(|f| f.status.as_ref()) else { return Poll::NotYet("no VMI".to_owned()) };
            let addressed = status.interfaces.iter().any(|i| i.ip_address.is_some());
            if status.conditions.holds("AgentConnected") && addressed {
                Poll::Done(())
            } else {
                Poll::NotYet(format!("phase {}, {}", status.phase, status.conditions.summary()))
            }
        })
        .await
        .map_err(|e| self.waited("read the guest", e))
    }

    async fn snapshot(&self, _: &VmRef, _: &str) -> Result<(), SourceError> {
        Err(SourceError::Unsupported {
            profile: self.profile.name.clone(),
            platform: Platform::Openshift,
            what: "snapshots of a source VM".to_owned(),
        })
    }

    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        self.read(vm).await
    }

    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError> {
        Ok(power_of(&self.require_vm(&vm.name).await?))
    }

    async fn judge(&self, _: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        Ok(self.claimed(claim).await?.map(|(_, judgement)| judgement))
    }

    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let name = claim.name;
        let what = format!("delete namespace {name}");
        let api: Api<Namespace> = Api::all(self.client().await?);
        let mut tries = 0;
        let namespace = loop {
            let Some((namespace, _)) = self.claimed(claim).await? else { return Ok(false) };
            let note = note(&namespace);
            let shown = Shown { kind: NAMESPACE, name, id: name, note: note.as_deref() };
            super::permit(&self.profile.name, claim, shown)?;
            if namespace.metadata.deletion_timestamp.is_some() {
                break namespace;
            }
            // What was read is what goes, or nothing.
            let held =
                Preconditions { uid: namespace.uid(), resource_version: namespace.metadata.resource_version.clone() };
            let params = DeleteParams { preconditions: Some(held), ..DeleteParams::background() };
            #[expect(clippy::disallowed_methods, reason = "what was judged right before goes, or nothing")]
            let deleted = api.delete(name, &params).await;
            match deleted {
                Ok(_) => break namespace,
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
                // Changed meanwhile, or going already.
                Err(kube::Error::Api(status)) if status.code == 409 && tries < CONFLICT_TRIES => tries += 1,
                Err(error) => return Err(self.refused(what, &error)),
            }
        };
        let uid = namespace.uid();
        let cluster = self.cluster().await?;
        let waiting = format!("namespace {name} with its source VM to be gone");
        let limit = self.options.timeouts.delete;
        wait::until(cluster, None, name, &waiting, limit, |found: Option<&Namespace>| match found {
            Some(found) if found.uid() == uid => Poll::NotYet("being deleted".to_owned()),
            _ => Poll::Done(()),
        })
        .await
        .map_err(|e| self.waited(&what, e))?;
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(true)
    }

    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        let api: Api<Namespace> = Api::all(self.client().await?);
        let selector = format!("{SOURCE_LABEL}={}", self.source_label());
        let list = api.list(&ListParams::default().labels(&selector)).await;
        let list = list.map_err(|e| self.refused("list the namespaces of source VMs", &e))?;
        let names = list.items.iter().map(ResourceExt::name_any).filter(|name| name.starts_with(prefix));
        Ok(names.map(|name| VmRef { id: String::new(), name }).collect())
    }

    fn guest_login(&self, vm: &VmRef) -> Option<Credentials> {
        let known = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        let password = known.get(&vm.name)?.clone();
        Some(Credentials { username: self.config.guest_user.clone(), password })
    }

    async fn instance(&self) -> Result<Option<String>, SourceError> {
        Ok(Some(self.cluster().await?.id().to_owned()).filter(|id| id.starts_with("kube-system/")))
    }

    fn cluster_url(&self) -> Option<String> {
        self.config.token.is_some().then(|| self.profile.api_url.trim_end_matches('/').to_owned())
    }

    async fn as_cluster(&self) -> Result<Option<Cluster>, SourceError> {
        self.cluster().await.map(|cluster| Some(cluster.clone()))
    }

    async fn disconnect(&self) {}
}
