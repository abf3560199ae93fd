//! VirtualMachineExport: KubeVirt's door to a VM's definition and disks for somebody outside, as MTV
//! uses it for VMs of OpenShift. A controller that makes an export Ready, and the proxy that its links
//! lead to.
//!
//! As far as a migration looks at it: VMs as sources, external links, one token. Exports do not expire,
//! and a disk holds nothing: its link tells whether the token is good and sends no byte.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, Resource as _, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::json::text;
use super::vm::{self, Claims};
use super::{expand, retry, unless_gone, value, vm_resource, vmi_resource, volumes};
use crate::clock::Clock;
use crate::controllers::said;
use crate::error::LabError;
use crate::outside::{FIELD_MANAGER, soon};
use crate::pki::LabCa;
use crate::serve::{self, Endpoint};

const GROUP: &str = "export.kubevirt.io";
const PLURAL: &str = "virtualmachineexports";
/// The stored version; the others say the same.
const VERSION: &str = "v1beta1";
const VERSIONS: [&str; 3] = [VERSION, "v1alpha1", "v1"];
/// Header and query parameter by which who comes proves that the export is theirs.
const TOKEN: &str = "x-kubevirt-export-token";
const TOKEN_CHARS: usize = 20;
/// Simulated time until the exporter's pod answers.
const STARTS: Duration = Duration::from_secs(10);
/// Between two looks at a VM that still runs or has no disks yet, simulated.
const LOOK: Duration = Duration::from_secs(30);

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, "VirtualMachineExport"), PLURAL)
}

/// What a cluster's exports are served with.
pub struct ExportOptions<'a> {
    pub client: Client,
    pub clock: Clock,
    pub ca: &'a LabCa,
    pub listen: std::net::IpAddr,
}

struct Context {
    client: Client,
    clock: Clock,
    /// `https://ADDRESS:PORT`.
    base: String,
    ca_pem: String,
}

/// Brings the kind, serves the links and runs the controller, as one of `tasks`, until `stop`.
pub async fn start(
    options: ExportOptions<'_>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Endpoint, LabError> {
    bring_kind(&options.client).await?;
    let listener = serve::bind("exports", options.listen, 0).await?;
    let tls = options.ca.server_config(&[options.listen.to_string(), "localhost".to_owned()])?;
    let endpoint = serve::https("exports", listener, tls, router(options.client.clone(), options.ca.ca_pem()))?;
    let context = Arc::new(Context {
        client: options.client,
        clock: options.clock,
        base: format!("https://{}", endpoint.addr()),
        ca_pem: options.ca.ca_pem().to_owned(),
    });
    let (own, stop) = (resource(), stop.clone());
    let api = Api::<DynamicObject>::all_with(context.client.clone(), &own);
    let run = Controller::new_with(api, watcher::Config::default(), own)
        .run(reconcile, |_, error: &kube::Error, _| retry(error), context)
        .for_each(|_| async {});
    tasks.spawn(
        async move {
            stop.run_until_cancelled(run).await;
        }
        .boxed(),
    );
    Ok(endpoint)
}

/// The definition, as KubeVirt's operator brings it; without the schema of what MTV never writes.
async fn bring_kind(client: &Client) -> Result<(), LabError> {
    let failed = |e: kube::Error| LabError::Start { part: "exports".to_owned(), cause: said::by(e) };
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let versions = VERSIONS.map(|name| {
        json!({"name": name, "served": true, "storage": name == VERSION, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": open, "status": open}}}})
    });
    let name = format!("{PLURAL}.{GROUP}");
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": GROUP, "scope": "Namespaced", "versions": versions,
            "names": {"kind": "VirtualMachineExport", "listKind": "VirtualMachineExportList", "plural": PLURAL,
                "singular": "virtualmachineexport", "shortNames": ["vmexport", "vmexports"]}}});
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    // A cluster from outside may have KubeVirt's own.
    if crds.get_opt(&name).await.map_err(failed)?.is_none() {
        let force = PatchParams::apply(FIELD_MANAGER).force();
        crds.patch(&name, &force, &Patch::Apply(&crd)).await.map_err(failed)?;
    }
    let served = || async {
        let conditions = crds.get_opt(&name).await.ok().flatten()?.status?.conditions?;
        conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
    };
    soon(&format!("CRD {name} to be established"), served).await
}

/// Where an export stands.
enum Stage {
    /// Not yet, and why: KubeVirt's reason.
    Pending(&'static str),
    Ready {
        links: Value,
    },
    /// There is no disk to export.
    Skipped,
}

async fn reconcile(export: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, kube::Error> {
    if export.metadata.deletion_timestamp.is_some() || matches!(phase(&export), "Ready" | "Skipped") {
        return Ok(Action::await_change());
    }
    let namespace = export.namespace().unwrap_or_default();
    let secret = token_secret(&context.client, &export, &namespace).await?;
    let stage = look(&context, &export, &namespace).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &resource());
    let status = status(&export, &stage, &secret);
    if export.data.get("status") != Some(&status) {
        let patch = Patch::Merge(json!({ "status": status }));
        unless_gone(api.patch_status(&export.name_any(), &PatchParams::default(), &patch).await)?;
    }
    Ok(match stage {
        Stage::Pending(_) => Action::requeue(context.clock.real(LOOK).max(Duration::from_millis(50))),
        Stage::Ready { .. } | Stage::Skipped => Action::await_change(),
    })
}

fn phase(export: &DynamicObject) -> &str {
    text(&export.data, "/status/phase")
}

async fn look(context: &Context, export: &DynamicObject, namespace: &str) -> Result<Stage, kube::Error> {
    let source = text(&export.data, "/spec/source/name");
    let vms: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &vm_resource());
    let vm = match text(&export.data, "/spec/source/kind") {
        "VirtualMachine" => vms.get_opt(source).await?,
        _ => None,
    };
    let Some(vm) = vm else { return Ok(Stage::Pending("SourceNotFound")) };
    let template = value(&vm).pointer("/spec/template/spec").cloned().unwrap_or_default();
    let claims = vm::claim_names(&template);
    if claims.is_empty() {
        return Ok(Stage::Skipped);
    }
    let vmis: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &vmi_resource());
    if vmis.get_opt(source).await?.is_some_and(|vmi| !vm::is_final(&value(&vmi))) {
        return Ok(Stage::Pending("InUse"));
    }
    if volumes::claims(&context.client, namespace, &template).await? != Claims::Bound {
        return Ok(Stage::Pending("PVCPending"));
    }
    let made = export.metadata.creation_timestamp.as_ref().map(|made| made.0);
    let age = made.map(|at| jiff::Timestamp::now().duration_since(at).unsigned_abs()).unwrap_or_default();
    if age < context.clock.real(STARTS) {
        return Ok(Stage::Pending("PodPending"));
    }
    Ok(Stage::Ready { links: links(&context.base, &context.ca_pem, namespace, &export.name_any(), &claims) })
}

/// The links by which somebody outside gets at the export.
fn links(base: &str, ca_pem: &str, namespace: &str, name: &str, claims: &[String]) -> Value {
    let own = format!("{base}/api/{GROUP}/v1/namespaces/{namespace}/{PLURAL}/{name}");
    let volumes = claims.iter().map(|claim| {
        let formats = [("raw", "disk.img"), ("gzip", "disk.img.gz")]
            .map(|(format, file)| json!({"format": format, "url": format!("{own}/volumes/{claim}/{file}")}));
        json!({"name": claim, "formats": formats})
    });
    let manifest = |kind: &str, file: &str| json!({"type": kind, "url": format!("{own}/external/manifests/{file}")});
    json!({"external": {"cert": ca_pem, "volumes": volumes.collect::<Vec<_>>(),
        "manifests": [manifest("all", "all"), manifest("auth-header-secret", "secret")]}})
}

fn status(export: &DynamicObject, stage: &Stage, secret: &str) -> Value {
    let (phase, ready, reason) = match stage {
        Stage::Pending(reason) => ("Pending", false, *reason),
        Stage::Ready { .. } => ("Ready", true, "PodReady"),
        Stage::Skipped => ("Skipped", false, "NoVolumes"),
    };
    let word = if ready { "True" } else { "False" };
    let old = export.data.pointer("/status/conditions/0");
    let unchanged = old.filter(|old| old["status"] == word && old["reason"] == reason);
    let condition = unchanged.cloned().unwrap_or_else(|| {
        json!({"type": "Ready", "status": word, "reason": reason, "message": "", "lastProbeTime": null,
            "lastTransitionTime": super::now()})
    });
    let mut status = json!({"phase": phase, "conditions": [condition], "tokenSecretRef": secret,
        "virtualMachineName": text(&export.data, "/spec/source/name")});
    if let Stage::Ready { links } = stage {
        status["links"] = links.clone();
    }
    status
}

/// The Secret that holds the token: the one that was named, else one that is made.
async fn token_secret(client: &Client, export: &DynamicObject, namespace: &str) -> Result<String, kube::Error> {
    let named = text(&export.data, "/spec/tokenSecretRef");
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let name = crate::api::names::dns_label(&format!("export-token-{}", export.name_any()), 63);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if secrets.get_opt(&name).await?.is_none() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": [export.controller_owner_ref(&resource())]},
            "stringData": {"token": crate::api::names::random_chars(TOKEN_CHARS)}});
        let secret = serde_json::from_value(secret).map_err(kube::Error::SerdeError)?;
        match secrets.create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
    }
    Ok(name)
}

/// Where the links lead.
#[derive(Clone)]
struct Proxy {
    client: Client,
    ca_pem: Arc<str>,
}

/// Namespace and name of an export, and the last two parts of the path.
type Place = (String, String, String, String);

fn router(client: Client, ca_pem: &str) -> Router {
    let own = format!("/api/{GROUP}/v1/namespaces/{{namespace}}/{PLURAL}/{{name}}");
    Router::new()
        .route(&format!("{own}/external/{{kind}}/{{file}}"), get(manifest))
        .route(&format!("{own}/volumes/{{volume}}/{{file}}"), get(volume))
        .with_state(Proxy { client, ca_pem: ca_pem.into() })
}

#[derive(serde::Deserialize)]
struct Asked {
    #[serde(rename = "x-kubevirt-export-token")]
    token: Option<String>,
}

impl Proxy {
    /// The export and its token, for who has the token.
    async fn admit(
        &self,
        namespace: &str,
        name: &str,
        headers: &HeaderMap,
        asked: Asked,
    ) -> Result<(Value, String), StatusCode> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource());
        let unavailable = |_| StatusCode::SERVICE_UNAVAILABLE;
        let export = api.get_opt(name).await.map_err(unavailable)?.ok_or(StatusCode::NOT_FOUND)?;
        if phase(&export) != "Ready" {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let export = value(&export);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = secrets.get_opt(text(&export, "/status/tokenSecretRef")).await.map_err(unavailable)?;
        let token = secret.and_then(|secret| secret.data?.remove("token")).ok_or(StatusCode::UNAUTHORIZED)?;
        let told = headers.get(TOKEN).map(|value| value.as_bytes().to_vec());
        let told = told.or_else(|| asked.token.map(String::into_bytes));
        if told.as_ref() != Some(&token.0) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok((export, String::from_utf8_lossy(&token.0).into_owned()))
    }
}

/// The manifests: everything but the token, and the token.
async fn manifest(
    State(proxy): State<Proxy>,
    Path((namespace, name, kind, file)): Path<Place>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let (export, token) = proxy.admit(&namespace, &name, &headers, asked).await?;
    let items = match (kind.as_str(), file.as_str()) {
        ("manifests", "all") => {
            let api: Api<DynamicObject> = Api::namespaced_with(proxy.client.clone(), &namespace, &vm_resource());
            let vm = api.get_opt(text(&export, "/spec/source/name")).await;
            let vm = vm.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?.ok_or(StatusCode::NOT_FOUND)?;
            let vm = expand::expanded(&proxy.client, &value(&vm)).await;
            let vm = definition(&vm.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?);
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("export-ca-cm-{name}")},
                "data": {"ca.pem": proxy.ca_pem.as_ref()}}, vm])
        }
        ("manifests", "secret") => json!([{"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": format!("header-secret-{name}")}, "stringData": {"token": format!("{TOKEN}:{token}")}}]),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    // JSON is YAML, for who wants that.
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
    Ok(([(header::CONTENT_TYPE, "application/json")], list.to_string()).into_response())
}

/// A VM as somebody else may make it anew: without what its cluster added.
fn definition(vm: &Value) -> Value {
    let mut own = json!({"name": vm["metadata"]["name"], "namespace": vm["metadata"]["namespace"]});
    for key in ["labels", "annotations"] {
        if let Some(kept) = vm["metadata"].get(key) {
            own[key] = kept.clone();
        }
    }
    json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": own, "spec": vm["spec"]})
}

/// A disk of the export, for who has the token. It holds nothing.
async fn volume(
    State(proxy): State<Proxy>,
    Path((namespace, name, volume, file)): Path<Place>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let (export, _) = proxy.admit(&namespace, &name, &headers, asked).await?;
    let ending = format!("/volumes/{volume}/{file}");
    let volumes = export.pointer("/status/links/external/volumes").and_then(Value::as_array);
    let formats = volumes.into_iter().flatten().filter_map(|volume| volume["formats"].as_array()).flatten();
    let known = formats.filter_map(|format| format["url"].as_str()).any(|url| url.ends_with(&ending));
    if known {
        Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Vec::new()).into_response())
    } else {
        Err(StatusCode::NOT_FOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_of_the_vm_has_a_link_in_both_formats() {
        let links = links("https://127.0.0.1:1", "PEM", "ns", "vm", &["root".to_owned(), "data".to_owned()]);
        let external = &links["external"];
        assert_eq!(external["volumes"].as_array().map(Vec::len), Some(2));
        let of_gzip = &external["volumes"][1]["formats"][1];
        let own = "https://127.0.0.1:1/api/export.kubevirt.io/v1/namespaces/ns/virtualmachineexports/vm";
        assert_eq!(of_gzip, &json!({"format": "gzip", "url": format!("{own}/volumes/data/disk.img.gz")}));
        assert_eq!(external["manifests"][0]["url"], format!("{own}/external/manifests/all"));
        assert_eq!(external["cert"], "PEM");
    }

    #[test]
    fn a_definition_leaves_out_what_the_cluster_added() {
        let vm = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "labels": {"k": "v"}, "managedFields": []},
            "spec": {"runStrategy": "Halted"}, "status": {"printableStatus": "Stopped"}});
        assert_eq!(
            definition(&vm),
            json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                "metadata": {"name": "a", "namespace": "n", "labels": {"k": "v"}}, "spec": {"runStrategy": "Halted"}})
        );
    }
}
