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
        let answer = once(request().timeout(timeout)).await;
        let (failed, cause) = match &answer {
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
