//! A cluster from outside below the lab: a real kube-apiserver with the real CRDs. The lab is its
//! MTV, its KubeVirt, its provisioner and its operators; it brings what those would have brought.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::aggregated::Aggregated;
use crate::MTV_NAMESPACE;
use crate::error::LabError;
use crate::pki::LabCa;
use crate::ports::KubevirtSubresources;
use crate::serve;

/// Who applies the lab's own objects.
pub const FIELD_MANAGER: &str = "mtv-matrix-lab";
/// What the control plane gets for each step of the preparation.
const LIMIT: Duration = Duration::from_secs(60);
/// The account of MTV's pods.
const MTV_ACCOUNT: &str = "forklift-controller";
const TOKEN_SECONDS: i64 = 24 * 60 * 60;
const PAUSE: Duration = Duration::from_millis(100);
/// Kinds that OLM serves: group, version, kind, plural. Their schemas are none of a migration's business.
const OLM: [(&str, &str, &str, &str); 2] = [
    ("operators.coreos.com", "v1alpha1", "Subscription", "subscriptions"),
    ("operators.coreos.com", "v1alpha1", "ClusterServiceVersion", "clusterserviceversions"),
];

/// The connection, and what the lab serves for the cluster.
pub struct Outside {
    client: kube::Client,
    url: String,
    token: String,
    /// As read, with the context's cluster and user.
    kubeconfig: Kubeconfig,
    /// PEM of the API server's CA; empty where the kubeconfig names none.
    ca_pem: String,
    aggregated: tokio::sync::OnceCell<Aggregated>,
}

fn failed(cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "cluster from outside".to_owned(), cause: cause.to_string() }
}

impl Outside {
    /// Connects by a kubeconfig's current context and brings the CRDs that are missing.
    pub async fn connect(path: &Path) -> Result<Self, LabError> {
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let context = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &context).await.map_err(failed)?;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let token = config.auth_info.token.as_ref().map(|t| t.expose_secret().to_owned()).unwrap_or_default();
        let ca_pem = config.root_cert.as_deref().map(crate::api::pem::of_der).unwrap_or_default();
        let client = kube::Client::try_from(config).map_err(failed)?;
        let outside = Self { client, url, token, kubeconfig, ca_pem, aggregated: tokio::sync::OnceCell::new() };
        outside.prepare().await?;
        Ok(outside)
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }
    pub fn url(&self) -> &str {
        &self.url
    }
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A token of MTV's controller account, which is made cluster admin.
    pub async fn service_token(&self) -> Result<String, LabError> {
        let force = PatchParams::apply(FIELD_MANAGER).force();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), MTV_NAMESPACE);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": MTV_ACCOUNT, "namespace": MTV_NAMESPACE}});
        accounts.patch(MTV_ACCOUNT, &force, &Patch::Apply(&account)).await.map_err(failed)?;
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client());
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": MTV_ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": MTV_ACCOUNT, "namespace": MTV_NAMESPACE}]});
        bindings.patch(MTV_ACCOUNT, &force, &Patch::Apply(&binding)).await.map_err(failed)?;
        let request = serde_json::from_value(
            json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}}),
        );
        let asked = accounts.create_token_request(MTV_ACCOUNT, &PostParams::default(), &request.map_err(failed)?).await;
        asked.map_err(failed)?.status.and_then(|status| status.token).ok_or_else(|| failed("the server gave no token"))
    }

    /// The kubeconfig that was given, trusting the lab's endpoints, too.
    pub fn kubeconfig(&self, lab_ca: &str) -> String {
        let mut kubeconfig = self.kubeconfig.clone();
        let bundle = format!("{}\n{lab_ca}", self.ca_pem.trim_end());
        let bundle = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bundle);
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = Some(bundle.clone());
        }
        // JSON is YAML.
        serde_json::to_string_pretty(&kubeconfig).unwrap_or_default()
    }

    /// OLM's CRDs, MTV's namespace, and the account that its pods run as.
    async fn prepare(&self) -> Result<(), LabError> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client());
        let force = PatchParams::apply(FIELD_MANAGER).force();
        for kind in OLM {
            let crd = open_crd(kind);
            let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if crds.get_opt(&name).await.map_err(failed)?.is_none() {
                crds.patch(&name, &force, &Patch::Apply(&crd)).await.map_err(failed)?;
            }
            let served = || async {
                let crd = crds.get_opt(&name).await.ok().flatten()?;
                let conditions = crd.status?.conditions?;
                conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
            };
            soon(&format!("CRD {name} to be established"), served).await?;
        }
        let namespaces: Api<Namespace> = Api::all(self.client());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MTV_NAMESPACE}});
        namespaces.patch(MTV_NAMESPACE, &force, &Patch::Apply(&namespace)).await.map_err(failed)?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), MTV_NAMESPACE);
        let account = || async { accounts.get_opt("default").await.ok().flatten().map(drop) };
        soon(&format!("service account {MTV_NAMESPACE}/default"), account).await
    }

    /// Serves KubeVirt's subresources behind the cluster's aggregator.
    pub async fn serve(
        &self,
        hook: Arc<dyn KubevirtSubresources>,
        ca: &LabCa,
        listen: std::net::IpAddr,
    ) -> Result<(), LabError> {
        let aggregated = Aggregated::start(self.client(), hook, ca, listen).await?;
        self.aggregated.set(aggregated).map_err(failed)
    }

    pub async fn stop(&self) {
        if let Some(aggregated) = self.aggregated.get() {
            aggregated.stop().await;
        }
    }
}

/// A Route's host has no port, so what it leads to listens on 443: on a loopback address of its own.
pub async fn bind_for_route(part: &str) -> Result<TcpListener, LabError> {
    serve::bind_https().await.map_err(|error| LabError::Start {
        part: part.to_owned(),
        cause: format!("a Route leads to port 443, and the lab can't listen there: {error}"),
    })
}

/// Asks until there is an answer.
pub async fn soon<F>(what: &str, ask: impl Fn() -> F) -> Result<(), LabError>
where
    F: Future<Output = Option<()>>,
{
    let began = Instant::now();
    while ask().await.is_none() {
        if began.elapsed() > LIMIT {
            return Err(failed(format!("waited {LIMIT:?} for {what}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A CRD that takes any spec and status.
fn open_crd((group, version, kind, plural): (&str, &str, &str, &str)) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}]}})
}
