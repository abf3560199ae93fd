//! The bearer token that every request carries, and how it is renewed.
//!
//! One holder a cluster, shared by the Kubernetes client and the client for routes. Renewal is
//! single flight: many requests may be refused at once, one of them logs in again.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::oauth;

/// A service account's token file is read again after this time; the kubelet replaces it well before expiry.
const FILE_AGE: Duration = Duration::from_secs(60);

/// Where tokens come from.
pub enum Source {
    /// None of ours: a client certificate, or kube's own credential plugin.
    None,
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
        matches!(self.source, Source::File(_) | Source::Password(_))
    }

    /// The token to use now; `Ok(None)` when we add none.
    pub async fn current(&self) -> Result<Option<SecretString>, String> {
        if matches!(self.source, Source::None) {
            return Ok(None);
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
            Source::None => return Err("there is no token to renew".to_owned()),
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
