//! Through which proxy a connection goes: one decision for the API server, its login, routes, source
//! platforms and pushes.
//!
//! The rules are those of Go's `net/http`, so that what works with `kubectl` works here: `HTTPS_PROXY`,
//! `HTTP_PROXY` and `NO_PROXY` (upper case first), never for loopback. A kubeconfig's `proxy-url` holds
//! for its API server whatever the environment says, and for the other hosts of that cluster (login,
//! routes), unless these are on loopback or in `NO_PROXY`. Names behind a proxy are resolved by the proxy.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};
use url::Url;

/// A proxy's URL. What is shown of it has no user info.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// `http://host:port`, `socks5://host:port`, or `host:port`; user info is allowed.
    pub fn parse(text: &str, place: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let bad = |because: &str| ProxyError { place: place.to_owned(), because: because.to_owned() };
        let parsed = match Url::parse(text) {
            Ok(url) if url.has_host() => url,
            _ => Url::parse(&format!("http://{text}")).map_err(|e| bad(&format!("it is no URL: {e}")))?,
        };
        match parsed.scheme() {
            "http" | "socks5" | "socks5h" if parsed.has_host() => Ok(Self(parsed)),
            scheme => Err(bad(&format!("a proxy is reached by http:// or socks5://, not by {scheme}://"))),
        }
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::api::text::without_user_info(self.0.as_str()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A proxy that can't be used. Its URL is not told: it may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {because}")]
pub struct ProxyError {
    place: String,
    because: String,
}

/// The decision.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    rules: Arc<Rules>,
}

#[derive(Debug, Clone, Default)]
struct Rules {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    none: Vec<NoProxy>,
    /// A cluster's own proxy, and the host and port of its API server.
    own: Option<(ProxyUrl, String)>,
}

impl Proxies {
    /// As the environment of this process says.
    pub fn from_env() -> Result<Self, ProxyError> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// As variables say.
    pub fn of(var: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, var(name).filter(|value| !value.trim().is_empty())?)))
        };
        let proxy = |names| first(names).map(|(name, value)| ProxyUrl::parse(&value, name)).transpose();
        let none = first(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        let rules = Rules {
            http: proxy(["HTTP_PROXY", "http_proxy"])?,
            https: proxy(["HTTPS_PROXY", "https_proxy"])?,
            none: none.split(',').filter_map(NoProxy::parse).collect(),
            own: None,
        };
        Ok(Self { rules: Arc::new(rules) })
    }

    /// Likewise, with the proxy that a kubeconfig gives the cluster of `server`.
    pub fn with_cluster(&self, proxy: ProxyUrl, server: &Uri) -> Self {
        let mut rules = Rules::clone(&self.rules);
        rules.own = Some((proxy, host_and_port(server)));
        Self { rules: Arc::new(rules) }
    }

    /// The proxy for a destination; `None`: straight there.
    pub fn decide(&self, destination: &Uri) -> Option<&ProxyUrl> {
        let rules = &*self.rules;
        if let Some((own, server)) = &rules.own
            && *server == host_and_port(destination)
        {
            return Some(own);
        }
        let host = bare(destination.host()?);
        if is_loopback(host) || rules.none.iter().any(|rule| rule.matches(host, port(destination))) {
            return None;
        }
        let environment = match destination.scheme_str() {
            Some("http" | "ws") => rules.http.as_ref(),
            _ => rules.https.as_ref(),
        };
        rules.own.as_ref().map(|(own, _)| own).or(environment)
    }

    /// For a client of reqwest: what it would read from the environment itself is off.
    pub fn apply(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let proxies = self.clone();
        builder.no_proxy().proxy(reqwest::Proxy::custom(move |url| {
            let destination: Uri = url.as_str().parse().ok()?;
            proxies.decide(&destination).map(|proxy| proxy.0.clone())
        }))
    }

    /// A connector for a client of hyper. `limit` bounds one connection.
    pub fn connector(&self, limit: Duration) -> Connector {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_connect_timeout(Some(limit));
        Connector { proxies: self.clone(), direct, limit }
    }

    /// A plain connection to `host:port`, for what speaks no HTTP.
    pub async fn dial(&self, host: &str, port: u16, limit: Duration) -> Result<TcpStream, BoxError> {
        let host = bare(host);
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let destination = Uri::builder().scheme("https").authority(authority).path_and_query("/").build()?;
        Ok(self.connector(limit).call(destination).await?.into_inner())
    }
}

/// Why there is no connection through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} gives no connection")]
struct Tunnelling {
    proxy: String,
    source: BoxError,
}

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}: it timed out")]
struct Slow(Duration);

/// Connects straight or through the proxy that [`Proxies`] decides on.
#[derive(Clone)]
pub struct Connector {
    proxies: Proxies,
    direct: HttpConnector,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The connector below has no back-pressure; each call gets a copy of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let (mut direct, limit) = (self.direct.clone(), self.limit);
        let proxy = self.proxies.decide(&destination).cloned();
        Box::pin(async move {
            let connect = async {
                match proxy {
                    None => direct.call(destination).await.map_err(BoxError::from),
                    Some(proxy) => through(&proxy, direct, destination)
                        .await
                        .map_err(|source| Tunnelling { proxy: proxy.to_string(), source }.into()),
                }
            };
            match tokio::time::timeout(limit, connect).await {
                Ok(connected) => connected,
                Err(_) => Err(Slow(limit).into()),
            }
        })
    }
}

async fn through(proxy: &ProxyUrl, direct: HttpConnector, destination: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
    // The matcher takes user info apart, percent-decoded.
    let taken = Matcher::builder().all(proxy.0.as_str()).build().intercept(&destination);
    let taken = taken.ok_or("it is no proxy's URL")?;
    if proxy.0.scheme() == "http" {
        let mut tunnel = Tunnel::new(taken.uri().clone(), direct);
        if let Some(auth) = taken.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        return tunnel.call(destination).await.map_err(BoxError::from);
    }
    let mut socks = SocksV5::new(taken.uri().clone(), direct);
    if let Some((user, password)) = taken.raw_auth() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    socks.call(destination).await.map_err(BoxError::from)
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NoProxy {
    /// `*`
    All,
    Network(IpAddr, u8, Option<u16>),
    /// A domain, whether the domain itself counts, and a port.
    Domain(String, bool, Option<u16>),
}

impl NoProxy {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Some(Self::Network(address.parse().ok()?, bits.parse().ok()?, None));
        }
        let whole = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        if let Ok(ip) = bare(&text).parse::<IpAddr>() {
            return Some(Self::Network(ip, whole(ip), None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port.parse().ok()?)),
            None => (text, None),
        };
        if let Ok(ip) = bare(&host).parse::<IpAddr>() {
            return Some(Self::Network(ip, whole(ip), port));
        }
        let host = host.strip_prefix('*').unwrap_or(&host);
        Some(match host.strip_prefix('.') {
            Some(domain) => Self::Domain(domain.to_owned(), false, port),
            None => Self::Domain(host.to_owned(), true, port),
        })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_lowercase();
        let host = host.trim_end_matches('.');
        let port_fits = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::All => true,
            Self::Network(network, bits, wanted) => {
                port_fits(wanted) && host.parse().is_ok_and(|ip| contains(*network, *bits, ip))
            }
            Self::Domain(domain, itself, wanted) => {
                let below = host.strip_suffix(domain.as_str()).is_some_and(|head| head.ends_with('.'));
                port_fits(wanted) && (below || (*itself && host == domain))
            }
        }
    }
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let shared = match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    shared >= u32::from(bits)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(match uri.scheme_str() {
        Some("http" | "ws") => Some(80),
        Some("https" | "wss") => Some(443),
        _ => None,
    })
}

fn host_and_port(uri: &Uri) -> String {
    let host = bare(uri.host().unwrap_or_default()).to_lowercase();
    format!("{host}:{}", port(uri).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn proxies(vars: &[(&str, &str)]) -> Proxies {
        Proxies::of(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn decided(proxies: &Proxies, destination: &str) -> Option<String> {
        proxies.decide(&destination.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn the_environments_proxies_hold_by_scheme_and_never_for_loopback() {
        let both = proxies(&[("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2")]);
        assert_eq!(decided(&both, "https://api.example.com:6443/x").as_deref(), Some("http://s:1/"));
        assert_eq!(decided(&both, "http://example.com").as_deref(), Some("http://p:2/"));
        for loopback in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:443", "http://127.9.9.9"] {
            assert_eq!(decided(&both, loopback), None, "{loopback}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let rules = "example.com, .sub.org,*.wild.net, 10.0.0.0/8 ,192.168.1.7,ported.com:8443,fd00::/8";
        let proxies = proxies(&[("HTTPS_PROXY", "http://s:1"), ("NO_PROXY", rules)]);
        for straight in [
            "https://example.com",
            "https://api.EXAMPLE.com:6443",
            "https://a.sub.org",
            "https://x.wild.net",
            "https://10.200.1.1:6443",
            "https://192.168.1.7",
            "https://ported.com:8443",
            "https://[fd00::1]:443",
        ] {
            assert_eq!(decided(&proxies, straight), None, "{straight}");
        }
        for proxied in [
            "https://notexample.com",
            "https://sub.org",
            "https://wild.net",
            "https://11.0.0.1",
            "https://192.168.1.8",
            "https://ported.com",
        ] {
            assert!(decided(&proxies, proxied).is_some(), "{proxied}");
        }
        let all = self::proxies(&[("HTTPS_PROXY", "http://s:1"), ("no_proxy", "*")]);
        assert_eq!(decided(&all, "https://example.com"), None);
    }

    #[test]
    fn a_clusters_own_proxy_holds_for_its_server_and_its_routes() {
        let env = proxies(&[("HTTPS_PROXY", "http://s:1"), ("NO_PROXY", "example.com")]);
        let own = ProxyUrl::parse("socks5://own:3", "proxy-url").unwrap();
        let proxies = env.with_cluster(own, &"https://api.example.com:6443".parse().unwrap());
        assert!(decided(&proxies, "https://api.example.com:6443/api").unwrap().starts_with("socks5://own"));
        assert_eq!(decided(&proxies, "https://other.example.com"), None, "NO_PROXY");
        assert!(decided(&proxies, "https://apps.lab.org").unwrap().starts_with("socks5://own"));
        assert_eq!(decided(&proxies, "https://127.0.0.1:4"), None);
    }

    #[test]
    fn a_proxys_user_info_is_in_no_text() {
        let proxy = ProxyUrl::parse("http://user:canary-pw@proxy:3128", "HTTPS_PROXY").unwrap();
        assert_eq!(proxy.to_string(), "http://proxy:3128/");
        let said = ProxyUrl::parse("https://user:canary-pw@proxy:3128", "HTTPS_PROXY").unwrap_err().to_string();
        assert!(said.starts_with("HTTPS_PROXY: ") && !said.contains("canary"), "{said}");
    }

    /// A CONNECT proxy that leads everything to `target`; the first line and the authorization it got.
    async fn connect_proxy(target: std::net::SocketAddr) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        (port, asked)
    }

    #[tokio::test]
    async fn a_name_that_only_the_proxy_resolves_is_reached_through_it() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = connect_proxy(echo.local_addr().unwrap()).await;
        tokio::spawn(async move { echo.accept().await.unwrap().0.write_all(b"here").await });
        let url = format!("http://me:p%40ss@127.0.0.1:{port}");
        let proxies = proxies(&[("HTTPS_PROXY", &url)]);
        let mut stream = proxies.dial("only.proxy.knows", 6443, Duration::from_secs(5)).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "here");
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("CONNECT only.proxy.knows:6443 "), "{asked:?}");
        // `me:p@ss`
        assert!(asked[0].contains("Basic bWU6cEBzcw=="), "{asked:?}");
    }
}
