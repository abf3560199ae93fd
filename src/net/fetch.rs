//! One request of reqwest by the one policy, its answer read to its end.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::repeat::Repeat;
use super::retry::{Failed, Peer};
use super::words;

/// Largest answer that is read, in bytes: more is a fault of the other side.
const LARGEST: usize = 256 * 1024 * 1024;

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Without its URL.
    #[error(transparent)]
    Request(reqwest::Error),
    #[error("the answer is longer than {LARGEST} bytes")]
    TooLong,
}

/// Sends what `request` makes, again by the policy; the last answer, whatever it says. `timeout`: of one try.
pub async fn fetch(
    peer: &Peer,
    what: &str,
    repeat: Repeat,
    timeout: Duration,
    request: impl Fn() -> reqwest::RequestBuilder,
) -> Result<Fetched, NoAnswer> {
    let mut attempts = peer.attempts(what, repeat, timeout);
    loop {
        let turn = peer.turn().await;
        let answer = once(request().timeout(timeout)).await;
        drop(turn);
        let (failed, cause) = match &answer {
            Ok(answer) if is_cut(&answer.headers, &answer.body) => (Failed::Unknown(None), CUT.to_owned()),
            Ok(answer) => {
                peer.has_answered();
                (Failed::of_answer(answer.status, &answer.headers), format!("HTTP {}", answer.status))
            }
            Err(NoAnswer::Request(error)) => (Failed::of_error(error), words::chain(error)),
            Err(error @ NoAnswer::TooLong) => (Failed::Definite, error.to_string()),
        };
        if !attempts.again(failed, || cause).await {
            return answer;
        }
    }
}

/// How an answer is told that [`is_cut`].
pub const CUT: &str = "the answer was cut short";

/// Whether an answer that came to its end is half of one: a proxy between may cut it and close in order.
pub fn is_cut(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let json = kind.starts_with("application/json") && !body.is_empty();
    json && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

async fn once(request: reqwest::RequestBuilder) -> Result<Fetched, NoAnswer> {
    let failed = |error: reqwest::Error| NoAnswer::Request(error.without_url());
    let mut answer = request.send().await.map_err(failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = bytes::BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(NoAnswer::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { status, headers, body: body.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_json_text_is_told_from_a_whole_one_and_from_what_is_none() {
        let cut = |kind: &'static str, body: &str| {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind))]);
            is_cut(&headers, body.as_bytes())
        };
        assert!(cut("application/json", r#"{"kind": "Pod", "meta"#));
        assert!(!cut("application/json; charset=utf-8", r#"{"kind": "Pod"}"#));
        assert!(!cut("application/json", "404 page not found"));
        assert!(!cut("application/json", ""));
        assert!(!cut("text/plain", "{"));
    }
}
