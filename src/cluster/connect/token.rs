//! The bearer token that every request carries, and how it is renewed.
//!
//! One holder a cluster, shared by the Kubernetes client and the client for routes. Renewal is
//! single flight: many requests may be refused at once, one of them logs in again.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::client::middleware::AuthLayer;
use kube::client::{Body, ConfigExt as _};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tower::{BoxError, Layer as _, ServiceExt as _};

use super::oauth;
use super::retry::{self, chain};

/// A service account's token file is read again after this time; the kubelet replaces it well before expiry.
const FILE_AGE: Duration = Duration::from_secs(60);

/// Where tokens come from.
pub enum Source {
    /// None: a client certificate.
    None,
    /// A credential plugin of the kubeconfig.
    Plugin(Box<Plugin>),
    /// A ServiceAccount's, asked for by a TokenRequest over a connection that has none.
    Account(Account),
    Fixed(SecretString),
    File(PathBuf),
    Password(oauth::Login),
}

struct Held {
    token: SecretString,
    /// Ask for a new one after this moment.
    renew_at: Option<Instant>,
}

/// The holder.
pub struct Tokens {
    source: Source,
    held: Mutex<Option<Held>>,
    /// Held across the login on purpose: that is what makes it single flight.
    renewing: tokio::sync::Mutex<()>,
}

impl Tokens {
    pub fn new(source: Source) -> Self {
        let held = match &source {
            Source::Fixed(token) => Some(Held { token: token.clone(), renew_at: None }),
            _ => None,
        };
        Self { source, held: Mutex::new(held), renewing: tokio::sync::Mutex::new(()) }
    }

    /// Whether a refused token can be replaced.
    pub fn can_renew(&self) -> bool {
        match &self.source {
            Source::None | Source::Fixed(_) => false,
            Source::Plugin(_) | Source::Account(_) | Source::File(_) | Source::Password(_) => true,
        }
    }

    /// The token to use now; `Ok(None)` when we add none.
    pub async fn current(&self) -> Result<Option<SecretString>, String> {
        match &self.source {
            Source::None => return Ok(None),
            // It knows by itself how long its token lives.
            Source::Plugin(plugin) => return plugin.token(false).await,
            Source::Account(_) | Source::Fixed(_) | Source::File(_) | Source::Password(_) => {}
        }
        if let Some(token) = self.fresh() {
            return Ok(Some(token));
        }
        let _one = self.renewing.lock().await;
        if let Some(token) = self.fresh() {
            return Ok(Some(token));
        }
        match self.fetch().await {
            Ok(token) => Ok(Some(token)),
            // Asked early on purpose: the old one works for a while yet.
            Err(because) => match self.last() {
                Some(token) => Ok(Some(token)),
                None => Err(because),
            },
        }
    }

    /// A token other than `refused`, which the server did not accept.
    pub async fn renew(&self, refused: &SecretString) -> Result<Option<SecretString>, String> {
        let _one = self.renewing.lock().await;
        if let Source::Plugin(plugin) = &self.source {
            let fresh = plugin.token(true).await?;
            return Ok(fresh.filter(|token| token.expose_secret() != refused.expose_secret()));
        }
        if let Some(token) = self.fresh().filter(|t| t.expose_secret() != refused.expose_secret()) {
            return Ok(Some(token));
        }
        let token = self.fetch().await?;
        Ok((token.expose_secret() != refused.expose_secret()).then_some(token))
    }

    fn fresh(&self) -> Option<SecretString> {
        let held = self.held.lock().ok()?;
        let held = held.as_ref()?;
        held.renew_at.is_none_or(|at| Instant::now() < at).then(|| held.token.clone())
    }

    fn last(&self) -> Option<SecretString> {
        self.held.lock().ok()?.as_ref().map(|held| held.token.clone())
    }

    async fn fetch(&self) -> Result<SecretString, String> {
        let (token, renew_at) = match &self.source {
            Source::None | Source::Plugin(_) => return Err("there is no token to renew".to_owned()),
            Source::Account(account) => {
                let grant = account.token().await?;
                (grant.token, grant.lifetime.map(|life| Instant::now() + renew_after(life)))
            }
            Source::Fixed(token) => (token.clone(), None),
            Source::File(path) => {
                let text = tokio::fs::read_to_string(path)
                    .await
                    .map_err(|e| format!("failed to read the token file {}: {e}", path.display()))?;
                (SecretString::from(text.trim()), Some(Instant::now() + FILE_AGE))
            }
            Source::Password(login) => {
                let grant = login.token().await.map_err(|e| e.to_string())?;
                (grant.token, grant.lifetime.map(|life| Instant::now() + renew_after(life)))
            }
        };
        if let Ok(mut held) = self.held.lock() {
            *held = Some(Held { token: token.clone(), renew_at });
        }
        Ok(token)
    }
}

/// A credential plugin (`exec` or `auth-provider`), run by kube.
pub struct Plugin {
    config: kube::Config,
    /// Runs the plugin again when its token has expired.
    layer: tokio::sync::Mutex<Option<AuthLayer>>,
}

impl Plugin {
    pub fn new(config: kube::Config) -> Self {
        Self { config, layer: tokio::sync::Mutex::default() }
    }

    /// `anew`: the plugin is run whatever it said of its token's life. `Ok(None)`: it gave a certificate.
    async fn token(&self, anew: bool) -> Result<Option<SecretString>, String> {
        let mut slot = self.layer.lock().await;
        if anew || slot.is_none() {
            let config = self.config.clone();
            // The first run is a blocking one.
            let made = tokio::task::spawn_blocking(move || config.auth_layer()).await;
            let made = made.map_err(|e| format!("the credential plugin broke: {e}"))?;
            *slot = made.map_err(|e| format!("the credential plugin failed: {}", chain(&e)))?;
        }
        let Some(layer) = slot.as_ref() else { return Ok(None) };
        // kube shows the token only as the header that it adds.
        let shown = tower::service_fn(|request: Request<Body>| {
            let header = request.headers().get(AUTHORIZATION).cloned();
            std::future::ready(Ok::<_, BoxError>(Response::new(header)))
        });
        let asked: BoxFuture<'_, _> = Box::pin(layer.layer(shown).oneshot(Request::new(Body::empty())));
        let asked = asked.await;
        let header = asked.map_err(|e| format!("the credential plugin failed: {}", chain(&*e)))?.into_body();
        let text = header.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(text.strip_prefix("Bearer ").map(SecretString::from))
    }
}

/// A ServiceAccount whose tokens are asked for.
pub struct Account {
    pub client: kube::Client,
    pub namespace: String,
    pub name: String,
}

impl Account {
    async fn token(&self) -> Result<oauth::Grant, String> {
        /// MTV reads with it for as long as a run takes, and more often than not longer than that.
        const LIFETIME: i64 = 24 * 3600;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(LIFETIME), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let made = accounts.create_token_request(&self.name, &PostParams::default(), &request).await;
        let made = made.map_err(|e| {
            format!("failed to get a token of ServiceAccount {}/{}: {}", self.namespace, self.name, retry::short(&e))
        })?;
        let status = made.status.unwrap_or_default();
        let token = status.token.ok_or("the TokenRequest was answered without a token")?;
        let life = status.expiration_timestamp.map(|end| end.0.duration_since(Timestamp::now()));
        let lifetime = life.and_then(|life| Duration::try_from(life).ok());
        Ok(oauth::Grant { token: SecretString::from(token), lifetime })
    }
}

/// When to ask again: a tenth of the life before its end, five minutes at most.
fn renew_after(life: Duration) -> Duration {
    life.saturating_sub((life / 10).min(Duration::from_secs(300)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        assert_eq!(renew_after(Duration::from_secs(86_400)), Duration::from_secs(86_100));
        assert_eq!(renew_after(Duration::from_secs(10)), Duration::from_secs(9));
    }

    #[tokio::test]
    async fn a_replaced_token_file_is_read_again_after_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "old\n").unwrap();
        let tokens = Tokens::new(Source::File(path.clone()));
        let old = tokens.current().await.unwrap().unwrap();
        assert_eq!(old.expose_secret(), "old");
        assert!(tokens.renew(&old).await.unwrap().is_none(), "the same token is no new token");
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tokens.renew(&old).await.unwrap().unwrap().expose_secret(), "new");
    }
}
