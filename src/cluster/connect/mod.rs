//! Connecting: in-cluster service account, kubeconfig, token, or user and password.
//!
//! Knows TLS, tokens and time limits; not what the requests are about. One TLS stack (rustls with
//! ring); kube's own retry layer is off, ours is in [`transport`].

mod kubeconfig;
pub(crate) mod oauth;
mod read_error;
pub mod retry;
mod rights;
mod time;
pub(crate) mod token;
mod transport;
pub mod upgrade;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use secrecy::SecretString;
use tower::{BoxError, Layer as _, ServiceExt as _};

use super::wait::hub::Hub;
use crate::config::Settings;
use crate::net::fetch::{Fetched, fetch};
use crate::net::proxy::{Proxies, ProxyError};
use crate::net::repeat::Repeat;
use crate::net::words::{self, Meaning};
use crate::net::{IDLE_CONNECTIONS, Peer};
use oauth::Login;
pub use read_error::ReadError;
use retry::chain;
pub use time::server_time;
use token::{Account, Plugin, Source, Tokens};
#[cfg(test)]
pub(crate) use transport::TransportError;
use transport::TransportLayer;
pub use transport::had_no_answer;

/// For whatever needs a bearer token that the connection has not.
pub const NO_TOKEN: &str = "it wants a bearer token, and this login has none (a client certificate): set \
     `token_service_account` to a ServiceAccount (namespace/name) whose token is taken, or `cluster_token`, or user \
     and password";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("failed to reach {url}: {cause}")]
    Unreachable { url: String, cause: String },
    #[error(
        "the certificate of {url} is not trusted ({cause}); give its CA with cluster_ca_file, or set \
         insecure_verify_skip to skip the check"
    )]
    Untrusted { url: String, cause: String },
    #[error("failed to log in to {url} as {user}: {because}")]
    Login { user: String, url: String, because: String },
    #[error("{url} refused the credentials: {how} is wrong or has expired")]
    Unauthorized { url: String, how: String },
    #[error("{url} accepts the credentials but forbids the request (403): {message}")]
    Forbidden { url: String, message: String },
}

/// What bounds the requests of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One connection.
    pub connect: Duration,
    /// One request.
    pub request: Duration,
    /// Requests a second; 0: without a bound.
    pub qps: u32,
}

impl Limits {
    pub fn of(settings: &Settings) -> Self {
        Self { connect: settings.timeouts.connect, request: settings.timeouts.request, qps: settings.qps }
    }
}

/// A connected cluster. Cheap to clone; all clones share connections and token.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    /// What the cluster is, whatever it is called: see [`Cluster::id`].
    id: String,
    /// For what needs a bearer token whatever the connection itself logs in with.
    bearer: Arc<Tokens>,
    http: reqwest::Client,
    openshift: bool,
    request_timeout: Duration,
    hub: Hub,
    /// PEM of the CA that the connection trusts; `None`: the system's.
    ca_pem: Option<String>,
    /// Held while a shared setting is read and changed: cells of one run must not fight over it.
    settings: tokio::sync::Mutex<()>,
}

/// What the cluster is: the UID of its first namespace.
async fn identity(client: &kube::Client) -> Option<String> {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
    let system = namespaces.get("kube-system").await.ok()?;
    system.metadata.uid.map(|uid| format!("kube-system/{uid}"))
}

/// What is needed to build the clients, however it was found.
struct Plan {
    config: kube::Config,
    source: Source,
    /// For messages: where the credentials came from.
    how: String,
    proxies: Proxies,
    /// Namespace and name of the ServiceAccount whose tokens are taken where the login has none.
    account: Option<(String, String)>,
}

impl Cluster {
    /// Connects as the settings say: token, user and password, explicit kubeconfig, service account,
    /// default kubeconfig, in this order.
    pub async fn connect(settings: &Settings) -> Result<Self, ClusterError> {
        install_provider();
        let plan = plan(settings).await?;
        Self::build(plan, Limits::of(settings)).await
    }

    /// Connects to `url` with a token. `ca_pem`: `None` for the system's CAs.
    pub async fn from_parts(
        url: &str,
        ca_pem: Option<&str>,
        token: SecretString,
        insecure: bool,
        limits: Limits,
    ) -> Result<Self, ClusterError> {
        install_provider();
        let mut config = base_config(url)?;
        config.root_cert = ca_pem.map(|pem| parse_ca(pem, "the given CA")).transpose()?;
        config.accept_invalid_certs = insecure;
        let (how, proxies) = ("the token".to_owned(), Proxies::from_env()?);
        let plan = Plan { config, source: Source::Fixed(token), how, proxies, account: None };
        Self::build(plan, limits).await
    }

    /// Around a client that exists already, e.g. one over a mock service. Nothing is probed.
    pub fn from_client(client: kube::Client, url: &str, request_timeout: Duration) -> Result<Self, ClusterError> {
        install_provider();
        let http = http_client(None, false, request_timeout, request_timeout, false, &Proxies::from_env()?)?;
        let inner = Inner {
            id: trim(url),
            url: trim(url),
            bearer: Arc::new(Tokens::new(Source::None)),
            http,
            openshift: false,
            request_timeout,
            hub: Hub::default(),
            ca_pem: None,
            settings: tokio::sync::Mutex::default(),
        };
        Ok(Self { client, inner: Arc::new(inner) })
    }

    async fn build(plan: Plan, limits: Limits) -> Result<Self, ClusterError> {
        let Limits { connect, request, qps } = limits;
        let Plan { config, source, how, proxies, account } = plan;
        let url = trim(&config.cluster_url.to_string());
        let mut roots = config.root_cert.clone();
        if let Some(path) = &config.root_cert_file {
            roots = Some(read_ca(path)?);
        }
        let http = http_client(roots.as_deref(), config.accept_invalid_certs, connect, request, true, &proxies)?;
        let tokens = Arc::new(Tokens::new(source));
        let token = tokens.current().await.map_err(ClusterError::Config)?;
        let layer = TransportLayer::new(Arc::clone(&tokens), request).at_most(qps);
        let client = client_of(&config, &layer, &proxies, connect)?;
        let bearer = match (token, account) {
            (None, Some((namespace, name))) => {
                let client = client.clone();
                Arc::new(Tokens::new(Source::Account(Account { client, namespace, name })))
            }
            _ => tokens,
        };
        let openshift = probe(&client, &url, &how).await?;
        let id = identity(&client).await.unwrap_or_else(|| url.clone());
        let inner = Inner {
            id,
            url,
            bearer,
            http,
            openshift,
            request_timeout: request,
            hub: Hub::default(),
            ca_pem: roots.as_deref().map(crate::api::pem::of_der),
            settings: tokio::sync::Mutex::default(),
        };
        Ok(Self { client, inner: Arc::new(inner) })
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }
    /// API URL without a trailing slash.
    pub fn url(&self) -> &str {
        &self.inner.url
    }
    /// `kube-system/UID`: one cluster has many addresses, and an address more than one cluster in time. The
    /// API URL where that namespace may not be read.
    pub fn id(&self) -> &str {
        &self.inner.id
    }
    /// Whether a ledger means this cluster by `at`: its id, or its URL as version 0.1 wrote it.
    pub fn is_known_as(&self, at: &str) -> bool {
        at == self.inner.id || at.trim_end_matches('/') == self.inner.url
    }
    /// The bearer token in use now (renewed when it expires); `None` with a client certificate and no
    /// `token_service_account`.
    pub async fn token(&self) -> Option<SecretString> {
        match self.inner.bearer.current().await {
            Ok(token) => token,
            Err(because) => {
                tracing::warn!(because, "no token");
                None
            }
        }
    }
    /// A token other than `refused`; `None` when there is no other.
    pub async fn renewed_token(&self, refused: &SecretString) -> Option<SecretString> {
        if !self.inner.bearer.can_renew() {
            return None;
        }
        self.inner.bearer.renew(refused).await.ok().flatten()
    }
    /// An authenticated GET of a route (inventory, Prometheus), by the policy, with the same choice of TLS and
    /// proxy as the API server. `peer` is who retries tell of. A refused token is renewed once.
    pub async fn get_route(&self, peer: &Peer, url: &str, query: &[(&str, &str)]) -> Result<Fetched, ReadError> {
        use secrecy::ExposeSecret as _;
        let mut token = self.token().await;
        let mut renewed = false;
        let path = url::Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default();
        loop {
            let request = || {
                let request = self.inner.http.get(url).query(query);
                match &token {
                    Some(token) => request.bearer_auth(token.expose_secret()),
                    None => request,
                }
            };
            let what = format!("GET {path}");
            let fetched = fetch(peer, &what, Repeat::Safe, self.inner.request_timeout, request).await;
            let fetched = fetched.map_err(|e| ReadError::failed(url, words::plain(&chain(&e))))?;
            if fetched.status.as_u16() == 401 && !renewed {
                renewed = true;
                let Some(refused) = token.as_ref() else { return Err(ReadError::failed(url, NO_TOKEN)) };
                // Where there is no other the same one is shown again: a refusal that is meant is said twice.
                if let Some(fresh) = self.renewed_token(refused).await {
                    token = Some(fresh);
                }
                continue;
            }
            return Ok(fetched);
        }
    }
    /// Whether the API server serves OpenShift's groups.
    pub fn is_openshift(&self) -> bool {
        self.inner.openshift
    }
    /// The bound of one request.
    pub fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }
    /// PEM of the CA that this connection trusts, wherever it came from; `None`: the system's.
    pub fn ca_pem(&self) -> Option<&str> {
        self.inner.ca_pem.as_deref()
    }
    /// This process' turn to change shared settings; others' changes in between are still conflicts.
    pub(crate) async fn settings_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.settings.lock().await
    }
    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

/// kube and reqwest both take the process' default; a second call changes nothing.
fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn trim(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

fn base_config(url: &str) -> Result<kube::Config, ClusterError> {
    let uri: http::Uri =
        trim(url).parse().map_err(|e| ClusterError::Config(format!("cluster_host `{url}` is not a URL: {e}")))?;
    if uri.scheme().is_none() {
        return Err(ClusterError::Config(format!("cluster_host `{url}` needs a scheme, e.g. https://{url}")));
    }
    Ok(kube::Config::new(uri))
}

async fn plan(settings: &Settings) -> Result<Plan, ClusterError> {
    let ca = settings.cluster_ca_file.as_deref().map(read_ca).transpose()?;
    let adjust = |mut config: kube::Config| {
        if let Some(ca) = &ca {
            config.root_cert = Some(ca.clone());
            config.root_cert_file = None;
        }
        config.accept_invalid_certs |= settings.insecure_verify_skip;
        config
    };
    let proxies = Proxies::from_env()?;
    let account = settings.token_service_account.as_deref().map(account).transpose()?;
    if let Some(host) = settings.cluster_host.as_deref().map(str::trim).filter(|h| !h.is_empty()) {
        let config = adjust(base_config(host)?);
        if let Some(token) = &settings.cluster_token {
            let (source, how) = (Source::Fixed(token.clone()), "cluster_token".to_owned());
            return Ok(Plan { config, source, how, proxies, account });
        }
        let (Some(username), Some(password)) = (&settings.cluster_username, &settings.cluster_password) else {
            return Err(ClusterError::Config(
                "cluster_host is set, but neither cluster_token nor cluster_username and cluster_password".to_owned(),
            ));
        };
        let timeouts = &settings.timeouts;
        let insecure = config.accept_invalid_certs;
        let http = http_client(ca.as_deref(), insecure, timeouts.connect, timeouts.request, false, &proxies)?;
        let login = Login {
            url: trim(host),
            username: username.clone(),
            password: password.clone(),
            http,
            request_timeout: timeouts.request,
            peer: Peer::new("cluster"),
        };
        let (source, how) = (Source::Password(login), "the user's token".to_owned());
        return Ok(Plan { config, source, how, proxies, account });
    }
    if settings.kubeconfig.is_none()
        && settings.kubeconfig_context.is_none()
        && let Ok(mut config) = kube::Config::incluster()
    {
        let file = config.auth_info.token_file.take();
        let source = file.map_or(Source::None, |path| Source::File(path.into()));
        let how = "the service account's token".to_owned();
        return Ok(Plan { config: adjust(config), source, how, proxies, account });
    }
    let chosen = kubeconfig::choose(settings.kubeconfig.as_deref(), settings.kubeconfig_context.as_deref()).await?;
    let mut config = adjust(chosen.config);
    let proxies = match chosen.proxy {
        Some(proxy) => proxies.with_cluster(proxy, &config.cluster_url),
        None => proxies,
    };
    let source = source_of(&mut config);
    Ok(Plan { config, source, how: format!("the login in {}", chosen.place), proxies, account })
}

/// The login becomes ours, so that routes get its token, too; a certificate stays kube's business.
fn source_of(config: &mut kube::Config) -> Source {
    use secrecy::ExposeSecret as _;
    let login = &mut config.auth_info;
    if let Some(token) = login.token.take() {
        return Source::Fixed(SecretString::from(token.expose_secret().trim()));
    }
    if let Some(file) = login.token_file.take() {
        return Source::File(file.into());
    }
    if login.exec.is_some() || login.auth_provider.is_some() {
        return Source::Plugin(Box::new(Plugin::new(config.clone())));
    }
    Source::None
}

/// `namespace/name` of a ServiceAccount.
fn account(text: &str) -> Result<(String, String), ClusterError> {
    match text.trim().split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(ClusterError::Config(format!("token_service_account `{text}`: write NAMESPACE/NAME"))),
    }
}

/// kube's client over our connector, with [`TransportLayer`] outermost. `connect` bounds one connection.
pub(super) fn client_of(
    config: &kube::Config,
    layer: &TransportLayer,
    proxies: &Proxies,
    connect: Duration,
) -> Result<kube::Client, ClusterError> {
    let failed = |e: kube::Error| {
        ClusterError::Config(format!("failed to set up the client for {}: {}", config.cluster_url, chain(&e)))
    };
    let connector = config.rustls_https_connector_with_connector(proxies.connector(connect)).map_err(failed)?;
    let service = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build::<_, Body>(connector);
    let service = service.map_err(BoxError::from);
    let service = config.base_uri_layer().layer(config.extra_headers_layer().map_err(failed)?.layer(service));
    Ok(ClientBuilder::new(layer.layer(service), config.default_namespace.clone()).build())
}

fn read_ca(path: &Path) -> Result<Vec<Vec<u8>>, ClusterError> {
    let pem = std::fs::read_to_string(path)
        .map_err(|e| ClusterError::Config(format!("failed to read the CA file {}: {e}", path.display())))?;
    parse_ca(&pem, &path.display().to_string())
}

/// Every certificate of a PEM text as DER.
fn parse_ca(pem: &str, place: &str) -> Result<Vec<Vec<u8>>, ClusterError> {
    use rustls_pki_types::pem::PemObject as _;
    let certificates: Result<Vec<Vec<u8>>, _> =
        rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.map(|c| c.to_vec())).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(ClusterError::Config(format!("{place} holds no PEM certificate"))),
        Err(e) => Err(ClusterError::Config(format!("{place} is not PEM: {e}"))),
    }
}

fn http_client(
    roots: Option<&[Vec<u8>]>,
    insecure: bool,
    connect: Duration,
    request: Duration,
    redirects: bool,
    proxies: &Proxies,
) -> Result<reqwest::Client, ClusterError> {
    let failed = |e: reqwest::Error| ClusterError::Config(format!("failed to set up the HTTP client: {}", chain(&e)));
    let builder = || {
        let policy = if redirects { reqwest::redirect::Policy::default() } else { reqwest::redirect::Policy::none() };
        proxies
            .apply(reqwest::Client::builder())
            .connect_timeout(connect)
            .timeout(request)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .redirect(policy)
            .tls_danger_accept_invalid_certs(insecure)
    };
    let certificates = roots
        .unwrap_or_default()
        .iter()
        .map(|der| reqwest::Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return builder().build().map_err(failed);
    }
    // Routes may have a public certificate although the API server has not: both are trusted. A
    // container without system CAs has only ours.
    match builder().tls_certs_merge(certificates.clone()).build() {
        Ok(client) => Ok(client),
        Err(_) => builder().tls_certs_only(certificates).build().map_err(failed),
    }
}

/// Lists the API groups: proves connection, TLS and token, and tells OpenShift from Kubernetes.
async fn probe(client: &kube::Client, url: &str, how: &str) -> Result<bool, ClusterError> {
    let url = url.to_owned();
    match client.list_api_groups().await {
        Ok(groups) => {
            Ok(groups.groups.iter().any(|g| g.name == "config.openshift.io" || g.name == "route.openshift.io"))
        }
        Err(kube::Error::Api(status)) if status.code == 401 => {
            Err(ClusterError::Unauthorized { url, how: how.to_owned() })
        }
        // It took the request, but for nobody's: it does not know what it was given.
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("system:anonymous") => {
            Err(ClusterError::Unauthorized { url, how: how.to_owned() })
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Err(ClusterError::Forbidden { url, message: status.message })
        }
        Err(error) => Err(classify(&url, &error)),
    }
}

/// A transport error in plain words.
pub(crate) fn classify(url: &str, error: &(dyn std::error::Error + 'static)) -> ClusterError {
    let (url, text) = (url.to_owned(), chain(error));
    match Meaning::of(&text) {
        Meaning::Untrusted => ClusterError::Untrusted { url, cause: text },
        _ => ClusterError::Unreachable { url, cause: words::plain(&text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrusted_certificate_says_how_to_give_a_ca() {
        let error = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        let said = classify("https://api", &error).to_string();
        assert!(said.contains("cluster_ca_file"), "{said}");
    }

    #[tokio::test]
    async fn nothing_listening_is_told_in_plain_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let limit = Duration::from_millis(300);
        let limits = Limits { connect: limit, request: limit, qps: 0 };
        let said = Cluster::from_parts(&url, None, "t".into(), true, limits).await.unwrap_err().to_string();
        assert!(said.contains("nothing listens there"), "{said}");
    }

    #[test]
    fn a_host_without_a_scheme_and_an_empty_ca_are_refused() {
        assert!(base_config("api.example.com:6443").is_err());
        assert!(parse_ca("nothing", "x").is_err());
    }
}
