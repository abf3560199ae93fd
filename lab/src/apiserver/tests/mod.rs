//! The server through kube-rs, over HTTPS and inside the process.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::{Client, Config, Resource};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

mod clients;
mod containers;
mod counted;
mod managers;
mod objects;
mod services;
mod streams;
mod strict;
mod webhooks;

const TOKEN: &str = "sha256~test";
const SOON: Duration = Duration::from_secs(10);

struct World {
    server: ApiServer,
    ca: LabCa,
}

async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = LabCa::new().unwrap();
    let options = ApiServerOptions {
        part: "API server",
        listen: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        kubernetes_version: "v1.33.5".to_owned(),
        users: vec![("kubeadmin".to_owned(), "lab-admin".to_owned())],
        token: TOKEN.to_owned(),
        subresources: None,
        inventory: None,
        faults: Default::default(),
    };
    World { server: ApiServer::start(options, &ca).await.unwrap(), ca }
}

impl World {
    /// A client over HTTPS.
    fn outside(&self) -> Client {
        let mut config = Config::new(self.server.url().parse().unwrap());
        let pem = CertificateDer::pem_slice_iter(self.ca.ca_pem().as_bytes());
        config.root_cert = Some(pem.map(|p| p.unwrap().to_vec()).collect());
        config.auth_info.token = Some(SecretString::from(TOKEN));
        Client::try_from(config).unwrap()
    }
    fn http(&self) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.ca.ca_pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }
    async fn get(&self, path: &str, accept: &str) -> Value {
        let request = self.http().get(format!("{}{path}", self.server.url())).bearer_auth(TOKEN);
        request.header("accept", accept).send().await.unwrap().json().await.unwrap()
    }
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": "1"}})).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("not an API error: {other:?}"),
    }
}

async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let gone = async {
        while api.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}
