//! What leaves the house: pushes to a Pushgateway and to a collector of traces, and a run packed for support.
//!
//! Sending is not rendering: texts come ready from `report`. Requests go by the one policy and through the
//! one choice of proxies ([`crate::net`]). Neither push makes anything twice, so both are repeated.

pub mod bundle;
mod redact;

use std::time::Duration;

use crate::api::text::without_user_info;
use crate::net::fetch::fetch;
use crate::net::proxy::{Proxies, ProxyError};
use crate::net::repeat::Repeat;
use crate::net::{Peer, words};

/// One try.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// `endpoint` is without user info.
    #[error("failed to push to {endpoint}: {because}")]
    Push { endpoint: String, because: String },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

fn failed(endpoint: &str, because: impl Into<String>) -> SendError {
    SendError::Push { endpoint: without_user_info(endpoint).into_owned(), because: because.into() }
}

async fn send(
    peer: &str,
    endpoint: &str,
    request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
) -> Result<(), SendError> {
    let client = Proxies::from_env()?.apply(reqwest::Client::builder()).build();
    let client = client.map_err(|e| failed(endpoint, words::cause(e)))?;
    let answer = fetch(&Peer::new(peer), "push", Repeat::Safe, TIMEOUT, || request(&client)).await;
    let answer = answer.map_err(|e| failed(endpoint, words::plain(&words::chain(&e))))?;
    if answer.status.is_success() { Ok(()) } else { Err(failed(endpoint, format!("HTTP {}", answer.status))) }
}

/// Puts a page of metrics to a Pushgateway: there it replaces that of the run before. Shards keep apart by
/// `instance`.
pub async fn metrics(gateway: &str, shard: Option<&str>, page: String) -> Result<(), SendError> {
    let mut url = url::Url::parse(gateway).map_err(|error| failed(gateway, error.to_string()))?;
    url.path_segments_mut()
        .map_err(|()| failed(gateway, "this URL can't have a path"))?
        .pop_if_empty()
        .extend(["metrics", "job", "mtv-matrix"])
        // A slash in a value must not become a further segment.
        .extend(shard.map(|shard| ["instance".to_owned(), shard.replace('/', "-of-")]).into_iter().flatten());
    let page = bytes::Bytes::from(page);
    let put = |client: &reqwest::Client| {
        client.put(url.clone()).header("content-type", "text/plain; version=0.0.4").body(page.clone())
    };
    send("pushgateway", gateway, put).await
}

/// Posts one export request a line of `body` to `url`. Spans have ids of their own: one that comes twice is one.
pub async fn traces(url: &str, headers: &[(String, String)], body: &str) -> Result<(), SendError> {
    for line in body.lines() {
        let post = |client: &reqwest::Client| {
            let post = client.post(url).header("content-type", "application/json").body(line.to_owned());
            headers.iter().fold(post, |post, (name, value)| post.header(name, value))
        };
        send("otlp", url, post).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_is_down_is_an_error_and_its_password_is_not_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://u:canary@{}/x", listener.local_addr().unwrap());
        drop(listener);
        let said = metrics(&url, Some("0/4"), String::new()).await.unwrap_err().to_string();
        assert!(said.starts_with("failed to push to http://127.0.0.1:") && !said.contains("canary"), "{said}");
    }

    #[tokio::test]
    async fn a_gateway_that_asks_for_patience_gets_the_page_in_the_end() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let answer = move |body: String| async move {
            assert_eq!(body, "page");
            if counted.fetch_add(1, Ordering::SeqCst) == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        };
        let router = axum::Router::new().route("/metrics/job/mtv-matrix", axum::routing::put(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        metrics(&url, None, "page".to_owned()).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
