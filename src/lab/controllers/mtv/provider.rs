//! Providers: validation, connection test, and the collector that fills the inventory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::conditions::{condition, settle, write_status};
use super::platform::{ConnectError, Login, PlatformClient};
use crate::api::condition::Condition;
use crate::api::forklift::{Provider, ProviderStatus};
use crate::lab::controllers::objects::{Restart, one_task_each};
use crate::lab::defects::Defect;
use crate::lab::inventory::Entry;

/// Simulated time of a connection test and of loading an inventory.
const TEST: Duration = Duration::from_secs(30);
const LOAD: Duration = Duration::from_secs(60);
/// Simulated pause before a failed connection is tried again.
const RETRY: Duration = Duration::from_secs(120);

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<Provider> = Api::all(mtv.client.clone());
    let worker = mtv.clone();
    let work = move |provider| reconcile(worker.clone(), provider);
    let gone = |provider: &Provider| mtv.db.remove(&provider.uid().unwrap_or_default());
    one_task_each(api, Restart::OnNewGeneration, stop, work, gone).await;
}

struct Writer {
    mtv: Arc<Mtv>,
    provider: Provider,
    last: Vec<Condition>,
}

impl Writer {
    async fn write(&mut self, phase: &str, conditions: Vec<Condition>) {
        let conditions = settle(conditions, &self.last);
        self.last.clone_from(&conditions);
        let status = ProviderStatus {
            phase: Some(phase.to_owned()),
            conditions,
            observed_generation: self.provider.metadata.generation.unwrap_or_default(),
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
    let mut writer = Writer { mtv: mtv.clone(), provider: provider.clone(), last: Vec::new() };
    writer.write("Staging", Vec::new()).await;
    mtv.clock.sleep(TEST).await;
    match provider.spec.type_.as_str() {
        "openshift" => openshift(&mtv, &mut writer).await,
        "vsphere" => vsphere(&mtv, &mut writer).await,
        other => {
            let message = format!("`{other}` is not supported by this lab; it plays openshift and vsphere");
            writer
                .write(
                    "ValidationFailed",
                    vec![condition("ProviderTypeNotSupported", "Critical", "NotSupported", message)],
                )
                .await;
        }
    }
}

fn entry(provider: &Provider) -> Entry {
    Entry {
        type_: provider.spec.type_.clone(),
        namespace: provider.namespace().unwrap_or_default(),
        name: provider.name_any(),
        object: serde_json::to_value(provider).unwrap_or_default(),
        content: None,
    }
}

async fn openshift(mtv: &Mtv, writer: &mut Writer) {
    let provider = writer.provider.clone();
    if !provider.spec.url.is_empty() {
        let data = match secret_data(mtv, &provider).await {
            Ok(data) => data,
            Err(bad) => return writer.write("ValidationFailed", vec![bad]).await,
        };
        if data.get("token").is_none_or(String::is_empty) {
            return writer.write("ValidationFailed", vec![bad_secret("DataErr", vec!["token".to_owned()])]).await;
        }
        if let Err(bad) = test_openshift(&provider.spec.url, &data).await {
            return writer.write("ConnectionFailed", vec![bad]).await;
        }
    }
    mtv.db.register(&provider.uid().unwrap_or_default(), entry(&provider));
    writer.write("Ready", vec![tested(), validated(), loaded(), ready()]).await;
}

/// A real request to the other cluster with the Secret's token, TLS as the Secret asks.
async fn test_openshift(url: &str, data: &BTreeMap<String, String>) -> Result<(), Condition> {
    let failed =
        |e: String| condition("ConnectionTestFailed", "Critical", "Tested", format!("Connection test, failed: {e}"));
    let insecure = data.get("insecureSkipVerify").is_some_and(|v| v == "true");
    let mut builder =
        reqwest::Client::builder().timeout(Duration::from_secs(10)).tls_danger_accept_invalid_certs(insecure);
    if let Some(pem) = data.get("cacert").or_else(|| data.get("ca.crt")) {
        let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| failed(e.to_string()))?;
        builder = builder.tls_certs_only(roots);
    }
    let client = builder.build().map_err(|e| failed(e.to_string()))?;
    let request = client.get(format!("{url}/api/v1/namespaces?limit=1"));
    let token = data.get("token").cloned().unwrap_or_default();
    let answer = request.bearer_auth(token).send().await.map_err(|e| failed(e.to_string()))?;
    match answer.status().as_u16() {
        200..=299 => Ok(()),
        code @ (400 | 401) => {
            let message = format!("Connection auth failed, error: the server answered {code}");
            Err(condition("ConnectionAuthFailed", "Critical", "Tested", message))
        }
        code => Err(failed(format!("the server answered {code}"))),
    }
}

fn bad_secret(reason: &str, items: Vec<String>) -> Condition {
    Condition { items, ..condition("SecretNotValid", "Critical", reason, "The `secret` is not valid.") }
}

async fn secret_data(mtv: &Mtv, provider: &Provider) -> Result<BTreeMap<String, String>, Condition> {
    let Some(name) = provider.spec.secret.name.as_deref().filter(|n| !n.is_empty()) else {
        return Err(bad_secret("NotSet", Vec::new()));
    };
    let namespace = provider.spec.secret.namespace.clone().or_else(|| provider.namespace()).unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), &namespace);
    let Ok(Some(secret)) = api.get_opt(name).await else { return Err(bad_secret("NotFound", Vec::new())) };
    Ok(secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned()))
        .collect())
}

async fn login_of(mtv: &Mtv, provider: &Provider) -> Result<Login, Condition> {
    if provider.spec.url.is_empty() {
        return Err(condition("UrlNotValid", "Critical", "NotSet", "The `url` is not valid."));
    }
    let data = secret_data(mtv, provider).await?;
    let insecure = data.get("insecureSkipVerify").is_some_and(|v| v == "true");
    let ca_pem = data.get("ca.crt").or_else(|| data.get("cacert")).cloned();
    let mut missing: Vec<String> = ["user", "password"]
        .iter()
        .filter(|k| data.get(**k).is_none_or(String::is_empty))
        .map(|k| (*k).to_owned())
        .collect();
    if !insecure && ca_pem.is_none() {
        missing.push("cacert".to_owned());
    }
    if !missing.is_empty() {
        return Err(bad_secret("DataErr", missing));
    }
    Ok(Login {
        url: provider.spec.url.clone(),
        user: data.get("user").cloned().unwrap_or_default(),
        password: data.get("password").cloned().unwrap_or_default(),
        insecure,
        ca_pem,
        sdk_endpoint: provider.spec.settings.get("sdkEndpoint").cloned(),
    })
}

/// Logs in by the Provider's Secret. Used by the collector and by a Plan's execution.
pub(super) async fn connect(mtv: &Mtv, provider: &Provider) -> Result<Arc<dyn PlatformClient>, Condition> {
    let login = login_of(mtv, provider).await?;
    mtv.connector.connect(&provider.spec.type_, &login).await.map_err(|error| match error {
        ConnectError::Auth(e) => {
            condition("ConnectionAuthFailed", "Critical", "Tested", format!("Connection auth failed, error: {e}"))
        }
        ConnectError::Failed(e) => {
            condition("ConnectionTestFailed", "Critical", "Tested", format!("Connection test, failed: {e}"))
        }
    })
}

async fn vsphere(mtv: &Arc<Mtv>, writer: &mut Writer) {
    let provider = writer.provider.clone();
    let uid = provider.uid().unwrap_or_default();
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
    let mut base = vec![tested(), validated()];
    let insecure =
        secret_data(mtv, &provider).await.is_ok_and(|d| d.get("insecureSkipVerify").is_some_and(|v| v == "true"));
    if insecure {
        base.push(condition(
            "ConnectionInsecure",
            "Warn",
            "SkipTLSVerification",
            "TLS is susceptible to machine-in-the-middle attacks when certificate verification is skipped.",
        ));
    }
    writer.write("Staging", base.clone()).await;
    ensure_ssh_keys(mtv, &provider).await;
    mtv.db.register(&uid, entry(&provider));
    let mut loading = base.clone();
    loading.push(condition("LoadInventory", "Advisory", "Started", "Loading the inventory."));
    writer.write("Staging", loading).await;
    mtv.clock.sleep(LOAD).await;
    collect(mtv, writer, &uid, client, base).await;
}

/// Shortest time between two readings of one Provider's inventory; real, not simulated.
const COLLECT_PAUSE: Duration = Duration::from_millis(50);

/// Loads the inventory, then follows the platform's changes for as long as the Provider exists.
async fn collect(mtv: &Mtv, writer: &mut Writer, uid: &str, client: Arc<dyn PlatformClient>, base: Vec<Condition>) {
    let mut announced = false;
    loop {
        match client.collect().await {
            Ok(content) => {
                mtv.db.fill(uid, content);
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
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        if client.changed().await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // A burst of changes is read once: every reading costs the whole inventory.
        tokio::time::sleep(COLLECT_PAUSE).await;
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

/// The two key Secrets that MTV makes for every validated vSphere Provider.
async fn ensure_ssh_keys(mtv: &Mtv, provider: &Provider) {
    let Ok(pair) = rcgen::KeyPair::generate() else { return };
    let namespace = provider.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), &namespace);
    let name = provider.name_any();
    let name = name.get(..228.min(name.len())).unwrap_or_default();
    for (half, key, value) in [
        ("private", "private-key", pair.serialize_pem()),
        (
            "public",
            "public-key",
            format!(
                "ecdsa-sha2-nistp256 {} forklift",
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair.public_key_raw())
            ),
        ),
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
                owner_references: kube::Resource::controller_owner_ref(provider, &()).map(|o| vec![o]),
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
