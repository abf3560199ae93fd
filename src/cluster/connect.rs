//! Connecting: in-cluster service account, kubeconfig, token, or user and password.

use secrecy::SecretString;

use crate::config::Settings;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{0}")]
    Placeholder(String),
}

/// A connected cluster. Cheap to clone; all clones share connections and token.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
}

impl Cluster {
    pub async fn connect(settings: &Settings) -> Result<Self, ClusterError> {
        let _ = settings;
        unimplemented!()
    }
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }
    /// API URL without a trailing slash.
    pub fn url(&self) -> &str {
        unimplemented!()
    }
    /// The bearer token in use now (renewed when it expires); `None` with a client certificate.
    pub async fn token(&self) -> Option<SecretString> {
        unimplemented!()
    }
    /// A client for OpenShift routes (inventory, Prometheus): same TLS choice, token per request.
    pub fn http(&self) -> reqwest::Client {
        unimplemented!()
    }
}
