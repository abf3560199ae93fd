//! Providers: validation, connection test, and the collector that fills the inventory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use russh::keys::{Algorithm, PrivateKey};
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::conditions::{condition, settle, write_status};
use super::feed::Feed;
use super::sources::{self, Source};
use crate::api::condition::Condition;
use crate::api::forklift::{Provider, ProviderStatus};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::controllers::objects::{Restart, one_task_each};
use crate::defects::Defect;
use crate::inventory::Entry;

/// Simulated time of a connection test and of loading an inventory.
const TEST: Duration = Duration::from_secs(30);
const LOAD: Duration = Duration::from_secs(60);
/// Simulated pause before a failed connection is tried again.
const RETRY: Duration = Duration::from_secs(120);

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let worker = mtv.clone();
    let work = move |provider| reconcile(worker.clone(), provider);
    let gone = |provider: &Provider| mtv.db.remove(&provider.uid().unwrap_or_default());
    one_task_each(mtv.client.clone(), &(), Restart::OnNewGeneration, stop, work, gone).await;
}

struct Writer {
    mtv: Arc<Mtv>,
    provider: Provider,
    last: Vec<Condition>,
    /// The version of the Secret that the connection was tested with.
    secret: Option<String>,
}

impl Writer {
    async fn write(&mut self, phase: &str, conditions: Vec<Condition>) {
        let conditions = settle(conditions, &self.last);
        self.last.clone_from(&conditions);
        let status = ProviderStatus {
            phase: Some(phase.to_owned()),
            conditions,
            observed_generation: self.provider.metadata.generation.unwrap_or_default(),
            secret_resource_version: self.secret.clone(),
        };
        write_status(&self.mtv.client, &self.provider, &status).await;
    }
}

fn validated() -> Condition {
    condition("Validated", "Advisory", "Completed", "Validation has been completed.")
}
fn tested() -> Condition {
    condition("ConnectionTestSucceeded", "Required", "Tested", "Connection test, succeeded.")
}
fn loaded() -> Condition {
    condition("InventoryCreated", "Required", "Completed", "The inventory has been loaded.")
}
fn ready() -> Condition {
    condition("Ready", "Required", "", "The provider is ready.")
}

async fn reconcile(mtv: Arc<Mtv>, provider: Provider) {
    let mut writer = Writer { mtv: mtv.clone(), provider: provider.clone(), last: Vec::new(), secret: None };
    writer.write("Staging", Vec::new()).await;
    mtv.clock.sleep(TEST).await;
    if provider.spec.type_ == "openshift" && provider.spec.url.is_empty() {
        return here(&mtv, &mut writer).await;
    }
    match sources::of(&provider.spec.type_) {
        Some(source) => follow(&mtv, &mut writer, source).await,
        None => {
            let newest = if mtv.version.at_least(13) { " nutanix" } else { "" };
            let message = format!("The `type` must be: [openshift vsphere ovirt openstack ova ec2 hyperv{newest}]");
            let bad = condition("ProviderTypeNotSupported", "Critical", "NotSupported", &message);
            writer.write("ValidationFailed", vec![bad]).await;
        }
    }
}

fn entry(provider: &Provider, demand: Arc<crate::inventory::Demand>) -> Entry {
    Entry {
        type_: provider.spec.type_.clone(),
        namespace: provider.namespace().unwrap_or_default(),
        name: provider.name_any(),
        object: serde_json::to_value(provider).unwrap_or_default(),
        content: None,
        demand,
    }
}

/// The cluster that MTV runs on: nothing to log in to, and its inventory is read live.
async fn here(mtv: &Mtv, writer: &mut Writer) {
    let provider = writer.provider.clone();
    mtv.db.register(&provider.uid().unwrap_or_default(), entry(&provider, Arc::default()));
    writer.secret = secret(mtv, &provider).await.ok().and_then(|secret| secret.resource_version());
    writer.write("Ready", vec![tested(), validated(), loaded(), ready()]).await;
}

fn bad_secret(reason: &str, items: Vec<String>) -> Condition {
    Condition { items, ..condition("SecretNotValid", "Critical", reason, "The `secret` is not valid.") }
}

async fn secret_data(mtv: &Mtv, provider: &Provider) -> Result<BTreeMap<String, String>, Condition> {
    let mut data = texts(&secret(mtv, provider).await?.data.unwrap_or_default());
    if !mtv.version.at_least(12) {
        // Kubernetes' own name for a CA is known from 2.12 on (pkg/lib/util/util.go).
        data.remove("ca.crt");
    }
    Ok(data)
}

async fn secret(mtv: &Mtv, provider: &Provider) -> Result<Secret, Condition> {
    let Some(name) = provider.spec.secret.name.as_deref().filter(|n| !n.is_empty()) else {
        return Err(bad_secret("NotSet", Vec::new()));
    };
    let namespace = provider.spec.secret.namespace.clone().or_else(|| provider.namespace()).unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), &namespace);
    api.get_opt(name).await.ok().flatten().ok_or_else(|| bad_secret("NotFound", Vec::new()))
}

fn login_from(provider: &Provider, data: BTreeMap<String, String>) -> Login {
    let insecure = data.get("insecureSkipVerify").is_some_and(|v| v == "true");
    let ca_pem = data.get("ca.crt").or_else(|| data.get("cacert")).cloned();
    let (url, settings) = (provider.spec.url.clone(), provider.spec.settings.clone());
    Login { url, secret: data, settings, insecure, ca_pem }
}

/// The way in that a Provider and its Secret's data describe.
pub(super) fn login(provider: &Provider, data: &BTreeMap<String, ByteString>) -> Login {
    login_from(provider, texts(data))
}

fn texts(data: &BTreeMap<String, ByteString>) -> BTreeMap<String, String> {
    data.iter().map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned())).collect()
}

async fn login_of(mtv: &Mtv, provider: &Provider, source: &dyn Source) -> Result<Login, Condition> {
    if source.needs_url() && provider.spec.url.is_empty() {
        return Err(condition("UrlNotValid", "Critical", "NotSet", "The `url` is not valid."));
    }
    if let Some(message) = source.bad_url(&provider.spec.url, mtv.version) {
        return Err(condition("UrlNotValid", "Critical", "Malformed", message));
    }
    let here = !source.needs_url() && provider.spec.url.is_empty();
    let data = if here { BTreeMap::new() } else { secret_data(mtv, provider).await? };
    let login = login_from(provider, data);
    let missing = source.missing_keys(&login, mtv.version);
    if missing.is_empty() { Ok(login) } else { Err(bad_secret("DataErr", missing)) }
}

/// Logs in by the Provider's Secret. Used by the collector and by a Plan's execution.
pub(super) async fn connect(mtv: &Mtv, provider: &Provider) -> Result<Arc<dyn PlatformClient>, Condition> {
    let source = sources::of(&provider.spec.type_)
        .ok_or_else(|| condition("ProviderTypeNotSupported", "Critical", "NotSupported", "no such type"))?;
    let login = login_of(mtv, provider, source).await?;
    source.connect(mtv, &login).await.map_err(|error| match error {
        ConnectError::Auth(e) => {
            condition("ConnectionAuthFailed", "Critical", "Tested", format!("Connection auth failed, error: {e}"))
        }
        ConnectError::Failed(e) => {
            condition("ConnectionTestFailed", "Critical", "Tested", format!("Connection test, failed: {e}"))
        }
    })
}

/// Logs in, loads the inventory, and follows it.
async fn follow(mtv: &Arc<Mtv>, writer: &mut Writer, source: &dyn Source) {
    let provider = writer.provider.clone();
    let uid = provider.uid().unwrap_or_default();
    source.begins(mtv, &provider).await;
    let client = loop {
        match connect(mtv, &provider).await {
            Ok(client) => break client,
            Err(bad) => {
                mtv.db.remove(&uid);
                let (type_, phase) = match bad.type_.as_str() {
                    "ConnectionAuthFailed" => ("auth", "ConnectionFailed"),
                    "ConnectionTestFailed" => ("test", "ConnectionFailed"),
                    _ => ("validation", "ValidationFailed"),
                };
                writer.write(phase, vec![bad]).await;
                if type_ == "auth" {
                    // MTV does not try again, so that it does not lock the account.
                    return;
                }
                mtv.clock.sleep(RETRY).await;
            }
        }
    };
    writer.secret = secret(mtv, &provider).await.ok().and_then(|secret| secret.resource_version());
    let mut base = vec![tested(), validated()];
    let insecure =
        secret_data(mtv, &provider).await.is_ok_and(|d| d.get("insecureSkipVerify").is_some_and(|v| v == "true"));
    if insecure && source.tells_insecure() {
        base.push(condition(
            "ConnectionInsecure",
            "Warn",
            "SkipTLSVerification",
            "TLS is susceptible to machine-in-the-middle attacks when certificate verification is skipped.",
        ));
    }
    writer.write("Staging", base.clone()).await;
    let Ok(login) = login_of(mtv, &provider, source).await else { return };
    mtv.db.register(&uid, entry(&provider, Arc::default()));
    let mut loading = base.clone();
    loading.push(condition("LoadInventory", "Advisory", "Started", "Loading the inventory."));
    writer.write("Staging", loading).await;
    mtv.clock.sleep(LOAD).await;
    let (feed, needless) = mtv.feeds.of(mtv, &provider.spec.type_, login, client);
    if let Some(client) = needless {
        client.logout().await;
    }
    mtv.db.register(&uid, entry(&provider, feed.demand.clone()));
    show(mtv, writer, &uid, &feed, base).await;
}

/// Shows what the login's collector reads, for as long as the Provider exists.
async fn show(mtv: &Mtv, writer: &mut Writer, uid: &str, feed: &Feed, base: Vec<Condition>) {
    let mut content = feed.follow();
    let mut announced = false;
    // The collector is there for as long as it is held here.
    while content.changed().await.is_ok() {
        let Some(read) = content.borrow_and_update().clone() else { continue };
        mtv.db.fill(uid, read);
        if !announced {
            announced = true;
            let mut conditions = base.clone();
            conditions.extend([loaded(), ready()]);
            writer.write("Ready", conditions).await;
            if mtv.defects.has(Defect::InsecureProvider) {
                flip_tls_choice(mtv, &writer.provider).await;
            }
        }
    }
}

/// The defect: what the Secret says of TLS is no longer what was asked for.
async fn flip_tls_choice(mtv: &Mtv, provider: &Provider) {
    let Some(name) = provider.spec.secret.name.as_deref() else { return };
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), &provider.namespace().unwrap_or_default());
    let data = secret_data(mtv, provider).await.unwrap_or_default();
    let insecure = data.get("insecureSkipVerify").is_some_and(|v| v == "true");
    if insecure && !data.contains_key("cacert") && !data.contains_key("ca.crt") {
        // Verifying without a CA would end the Provider, which is another defect.
        return;
    }
    let patch = serde_json::json!({"stringData": {"insecureSkipVerify": (!insecure).to_string()}});
    let _ = api.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await;
}

/// The two key Secrets that MTV makes for every vSphere Provider, whether it can connect or not.
pub(super) async fn ensure_ssh_keys(mtv: &Mtv, provider: &Provider) {
    // MTV's is an RSA key of 2048 bits, which takes long to find; whoever uses it takes either.
    let Ok(key) = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519) else { return };
    let (Ok(private), Ok(public)) = (key.to_openssh(Default::default()), key.public_key().to_openssh()) else { return };
    let namespace = provider.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), &namespace);
    let name = provider.name_any();
    let name = name.get(..228.min(name.len())).unwrap_or_default();
    for (half, key, value) in [
        ("private", "private-key", private.to_string()),
        // As `ssh.MarshalAuthorizedKey` writes it: without a comment, with the end of a line.
        ("public", "public-key", format!("{}\n", public.trim_end())),
    ] {
        let labels = [
            ("app.kubernetes.io/name", "forklift"),
            ("app.kubernetes.io/component", "ssh-keys"),
            ("app.kubernetes.io/managed-by", "forklift-controller"),
            ("forklift.konveyor.io/provider", name),
        ];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(format!("offload-ssh-keys-{name}-{half}")),
                namespace: Some(namespace.clone()),
                labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
                owner_references: kube::Resource::controller_owner_ref(provider, &())
                    .map(|owner| vec![OwnerReference { block_owner_deletion: Some(true), ..owner }]),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([(key.to_owned(), value)])),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        // One that exists is kept.
        let _ = api.create(&PostParams::default(), &secret).await;
    }
}
