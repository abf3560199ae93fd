//! Where the lab lives: an API server of its own, or a cluster that is there already. Everything
//! else in the lab is a client and does not see the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value;
use tokio::net::TcpListener;

use super::apiserver::{ApiServer, ApiServerOptions};
use super::census;
use super::outside::{self, Outside};
use super::serve;
use crate::MTV_NAMESPACE;
use crate::error::LabError;
use crate::faults::{Dialect, Faults};
use crate::options::LabOptions;
use crate::pki::LabCa;
use crate::ports::{KubevirtSubresources, PodPorts};
use crate::state::Kept;
use crate::uploads::UploadTokens;

/// A login of the lab's own server; it guards nothing.
const CLUSTER_USER: &str = "kubeadmin";
const CLUSTER_PASSWORD: &str = "lab-admin";
const KUBERNETES_VERSION: &str = "v1.33.5";

/// The API server below the lab.
pub enum Host {
    Embedded { api: Arc<ApiServer>, token: String },
    Outside(Box<Outside>),
}

impl Host {
    pub async fn start(
        options: &LabOptions,
        kept: Option<&Kept>,
        ca: &LabCa,
        faults: &Faults,
    ) -> Result<Self, LabError> {
        if let Some(kubeconfig) = &options.on {
            return Ok(Self::Outside(Box::new(Outside::connect(kubeconfig).await?)));
        }
        let before = kept.and_then(|kept| kept.token()).map(str::to_owned);
        let token = before.unwrap_or_else(|| format!("sha256~lab-{}", crate::api::names::random_chars(24)));
        let api_options = ApiServerOptions {
            part: "API server",
            listen: options.listen,
            port: options.port,
            kubernetes_version: KUBERNETES_VERSION.to_owned(),
            users: vec![(CLUSTER_USER.to_owned(), CLUSTER_PASSWORD.to_owned())],
            token: token.clone(),
            subresources: None,
            inventory: None,
            faults: faults.at("api", Dialect::Kubernetes),
        };
        let api = ApiServer::start(api_options, ca).await?;
        if let Some(objects) = kept.and_then(Kept::api) {
            api.restore(objects);
        }
        Ok(Self::Embedded { api: Arc::new(api), token })
    }

    /// Whether the API server is the lab's own.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Embedded { .. })
    }

    /// A client that may do everything.
    pub fn client(&self) -> kube::Client {
        match self {
            Self::Embedded { api, .. } => api.client(),
            Self::Outside(outside) => outside.client(),
        }
    }

    /// Likewise, for the lab's controllers, which do not look at `metadata.managedFields`.
    pub fn controllers_client(&self) -> kube::Client {
        match self {
            Self::Embedded { api, .. } => api.controllers_client(),
            Self::Outside(outside) => outside.client(),
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Embedded { api, .. } => api.url(),
            Self::Outside(outside) => outside.url().to_owned(),
        }
    }

    /// A cluster admin's token; empty where the admin has a certificate instead.
    pub fn token(&self) -> &str {
        match self {
            Self::Embedded { token, .. } => token,
            Self::Outside(outside) => outside.token(),
        }
    }

    /// User and password of the OAuth login; none where the cluster is somebody else's.
    pub fn login(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Embedded { .. } => Some((CLUSTER_USER, CLUSTER_PASSWORD)),
            Self::Outside(_) => None,
        }
    }

    /// A token as a pod of MTV's has one: its own service account's, which may do everything.
    pub async fn service_token(&self) -> Result<String, LabError> {
        match self {
            Self::Embedded { token, .. } => Ok(token.clone()),
            Self::Outside(outside) => outside.service_token().await,
        }
    }

    /// PEM of the CAs of the API server and of the lab.
    pub fn trusted(&self, ca: &LabCa) -> String {
        match self {
            Self::Embedded { .. } => ca.ca_pem().to_owned(),
            Self::Outside(outside) => format!("{}\n{}", outside.ca_pem().trim_end(), ca.ca_pem()),
        }
    }

    /// A kubeconfig as YAML that trusts the API server and, by `lab_ca`, the lab's endpoints.
    pub fn kubeconfig(&self, lab_ca: &str) -> String {
        match self {
            Self::Embedded { api, token } => {
                let ca = base64::engine::general_purpose::STANDARD.encode(lab_ca);
                format!(
                    "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters:\n- name: lab\n  cluster:\n    server: {}\n    certificate-authority-data: {ca}\nusers:\n- name: lab\n  user:\n    token: {token}\ncontexts:\n- name: lab\n  context:\n    cluster: lab\n    user: lab\n    namespace: default\n",
                    api.url()
                )
            }
            Self::Outside(outside) => outside.kubeconfig(lab_ca),
        }
    }

    /// A listener that a Route may lead to.
    pub async fn bind_for_route(&self, part: &str, listen: IpAddr) -> Result<TcpListener, LabError> {
        match self {
            // The lab's own server takes `host:port` for a host.
            Self::Embedded { .. } => serve::bind(part, listen, 0).await,
            Self::Outside(_) => outside::bind_for_route(part).await,
        }
    }

    /// Serves KubeVirt's subresources, ports of pods, and the inventory (`host:port`) through the service proxy.
    pub async fn serve(
        &self,
        subresources: Arc<dyn KubevirtSubresources>,
        ports: Arc<dyn PodPorts>,
        inventory: &str,
        ca: &LabCa,
        listen: IpAddr,
    ) -> Result<(), LabError> {
        match self {
            Self::Embedded { api, .. } => {
                api.set_subresources(subresources);
                api.set_pod_ports(ports);
                let inventory = format!("https://{inventory}");
                api.set_service_proxy(MTV_NAMESPACE, "forklift-inventory", inventory, ca.ca_pem().to_owned());
                Ok(())
            }
            Self::Outside(outside) => outside.serve(subresources, ca, listen).await,
        }
    }

    /// By which CDI's upload proxy knows its callers; none on a cluster from outside, which has its own CDI.
    pub fn upload_tokens(&self) -> Option<Arc<UploadTokens>> {
        match self {
            Self::Embedded { api, .. } => Some(api.upload_tokens()),
            Self::Outside(_) => None,
        }
    }

    /// Every object that a run could leave behind, one line each. Of a cluster from outside: none,
    /// others work there, too.
    pub fn objects(&self) -> BTreeSet<String> {
        let Self::Embedded { api, .. } = self else { return BTreeSet::new() };
        api.snapshot()
            .into_iter()
            // Events expire by themselves, and some things MTV keeps for good.
            .filter(|o| o.kind != "Event" && !census::is_kept(&o.name))
            .map(|o| match o.namespace.as_str() {
                "" => format!("{} {}", o.kind, o.name),
                ns => format!("{} {ns}/{}", o.kind, o.name),
            })
            .collect()
    }

    /// Every object whole; of a cluster from outside: none.
    pub fn census(&self) -> BTreeMap<String, Value> {
        match self {
            Self::Embedded { api, .. } => census::of(api, ""),
            Self::Outside(_) => BTreeMap::new(),
        }
    }

    /// What a lab that is kept begins with; nothing of a cluster from outside.
    pub fn kept(&self) -> Option<Value> {
        match self {
            Self::Embedded { api, .. } => Some(api.kept()),
            Self::Outside(_) => None,
        }
    }

    /// Forgets old versions, so that watches from before are told *expired*.
    pub fn compact(&self) {
        if let Self::Embedded { api, .. } = self {
            api.compact();
        }
    }

    /// Requests from outside since the start; of a cluster from outside nobody counts them.
    pub fn request_count(&self) -> u64 {
        match self {
            Self::Embedded { api, .. } => api.request_count(),
            Self::Outside(_) => 0,
        }
    }

    pub async fn stop(&self) {
        match self {
            Self::Embedded { api, .. } => api.stop().await,
            Self::Outside(outside) => outside.stop().await,
        }
    }
}
