//! User and password → token: OpenShift's OAuth challenge flow (cluster.md §4.1).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{ClusterError, classify};
use crate::net::Peer;
use crate::net::fetch::{Fetched, fetch};
use crate::net::repeat::Repeat;

const CLIENT_ID: &str = "openshift-challenging-client";

/// A login that can be repeated whenever a new token is needed.
pub struct Login {
    /// API URL without a trailing slash.
    pub url: String,
    pub username: String,
    pub password: SecretString,
    /// Follows no redirects: the token is in the redirect itself.
    pub http: reqwest::Client,
    pub request_timeout: Duration,
    pub peer: Peer,
}

/// A token and how long it lives.
pub struct Grant {
    pub token: SecretString,
    pub lifetime: Option<Duration>,
}

#[derive(Deserialize)]
struct Discovery {
    authorization_endpoint: String,
}

impl Login {
    fn refused(&self, because: impl Into<String>) -> ClusterError {
        ClusterError::Login { user: self.username.clone(), url: self.url.clone(), because: because.into() }
    }

    /// A GET by the policy: a second token is one that ends by itself.
    async fn get(
        &self,
        what: &str,
        place: &str,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Fetched, ClusterError> {
        let fetched = fetch(&self.peer, what, Repeat::Safe, self.request_timeout, request).await;
        fetched.map_err(|e| classify(place, &e))
    }

    /// Logs in.
    pub async fn token(&self) -> Result<Grant, ClusterError> {
        let address = format!("{}/.well-known/oauth-authorization-server", self.url);
        let answer = self.get("read the OAuth metadata", &self.url, || self.http.get(&address)).await?;
        if answer.status.as_u16() == 404 {
            return Err(self.refused(
                "this API server offers no OAuth login (external OIDC or plain Kubernetes); set cluster_token instead",
            ));
        }
        if !answer.status.is_success() {
            return Err(self.refused(format!("{address} answered HTTP {}", answer.status)));
        }
        let discovery: Discovery = serde_json::from_slice(&answer.body)
            .map_err(|_| self.refused(format!("{address} did not answer with OAuth metadata")))?;
        let endpoint = &discovery.authorization_endpoint;
        let ask = || {
            self.http
                .get(endpoint)
                .query(&[("response_type", "token"), ("client_id", CLIENT_ID)])
                .basic_auth(&self.username, Some(self.password.expose_secret()))
                .header("X-CSRF-Token", "1")
        };
        let answer = self.get("log in", endpoint, ask).await?;
        let location = answer.headers.get(http::header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        match (answer.status.as_u16(), location) {
            (302 | 303, Some(location)) => parse_redirect(&location).map_err(|because| self.refused(because)),
            (401, _) => {
                let hint = answer.headers.get("Warning").and_then(|v| v.to_str().ok()).unwrap_or_default();
                Err(self.refused(if hint.is_empty() {
                    "user or password is wrong".to_owned()
                } else {
                    format!("no identity provider accepts a password: {hint}")
                }))
            }
            (status, _) => Err(self.refused(format!("the login endpoint answered HTTP {status}"))),
        }
    }
}

/// The token from the redirect's fragment; errors come in the query.
fn parse_redirect(location: &str) -> Result<Grant, String> {
    let pairs = |text: &str| -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
    };
    let find = |pairs: &[(String, String)], key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let (before, fragment) = location.split_once('#').unwrap_or((location, ""));
    let fragment = pairs(fragment);
    if let Some(token) = find(&fragment, "access_token").filter(|t| !t.is_empty()) {
        let lifetime =
            find(&fragment, "expires_in").and_then(|s| s.parse().ok()).filter(|s| *s > 0).map(Duration::from_secs);
        return Ok(Grant { token: SecretString::from(token), lifetime });
    }
    let query = pairs(before.split_once('?').map(|(_, q)| q).unwrap_or_default());
    match find(&query, "error") {
        Some(error) => {
            let more = find(&query, "error_description").map(|d| format!(": {d}")).unwrap_or_default();
            Err(format!("the login was refused with `{error}`{more}"))
        }
        None => Err("the login answered with a redirect that carries no token".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_from_the_fragment_and_decoded() {
        let grant = parse_redirect(
            "https://oauth/oauth/token/implicit#access_token=sha256~ab%2Dc&expires_in=86400&scope=user%3Afull&token_type=Bearer",
        )
        .unwrap();
        assert_eq!(grant.token.expose_secret(), "sha256~ab-c");
        assert_eq!(grant.lifetime, Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn a_refusal_in_the_query_is_told_in_its_own_words() {
        let said = parse_redirect("https://x/implicit?error=access_denied&error_description=not+you").err().unwrap();
        assert!(said.contains("access_denied") && said.contains("not you"), "{said}");
        assert!(parse_redirect("https://x/implicit").is_err());
    }
}
