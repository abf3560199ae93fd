//! The cluster's side of the one retry policy ([`crate::net::retry`]): what kube's errors prove.

use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::rights::rule_for;
pub use crate::net::words::chain;

use crate::net::repeat::Repeat;
use crate::net::{Attempts, Failed};

/// What a failed request proves.
pub fn failed(error: &kube::Error) -> Failed {
    match error {
        kube::Error::Api(status) => {
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::BAD_REQUEST);
            let asked = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0);
            let asked = asked.map(|s| Duration::from_secs(s.into()));
            match Failed::of_answer(code, &HeaderMap::new()) {
                Failed::Undone(_) => Failed::Undone(asked),
                Failed::Unknown(_) => Failed::Unknown(asked),
                Failed::Definite => Failed::Definite,
            }
        }
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => Failed::of_error(error),
        _ => Failed::Definite,
    }
}

/// Repeats `attempt`, which must be safe to repeat, while it fails with a transient error and `limit` is
/// not over: a create whose fixed name makes the second one answer 409 is.
/// `what` is for the log, e.g. `create Plan ns/name`.
pub async fn transient<T, F, Fut>(what: &str, limit: Duration, mut attempt: F) -> Result<T, kube::Error>
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<T, kube::Error>> + Send,
{
    let mut attempts = Attempts::new("cluster", what, Repeat::Safe, limit);
    loop {
        match attempt().await {
            Err(error) if attempts.again(failed(&error), || short(&error)).await => {}
            other => return other,
        }
    }
}

/// An error in one line: the server's own words where it has some, else the whole cause chain.
pub fn short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => match rule_for(&status.message) {
            Some(rule) => format!("{} (403); {rule}", status.message),
            None => format!("{} (403)", status.message),
        },
        kube::Error::Api(status) if !status.message.is_empty() => format!("{} ({})", status.message, status.code),
        kube::Error::Api(status) => format!("HTTP {} {}", status.code, status.reason),
        other => chain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(serde_json::json!({"code": code})).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_retried_until_it_works() {
        let mut left = 3;
        let answer = transient("x", Duration::from_secs(30), || {
            left -= 1;
            let now = left;
            async move { if now > 0 { Err(api(503)) } else { Ok(now) } }
        })
        .await;
        assert_eq!(answer.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn retrying_ends_at_the_limit_and_a_definite_refusal_ends_at_once() {
        let begun = Instant::now();
        let mut calls = 0;
        let answer: Result<(), _> = transient("x", Duration::from_secs(10), || {
            calls += 1;
            async { Err(api(429)) }
        })
        .await;
        assert!(answer.is_err() && calls > 3);
        assert!(begun.elapsed() <= Duration::from_secs(10));
        let mut calls = 0;
        let _: Result<(), _> = transient("x", Duration::from_secs(10), || {
            calls += 1;
            async { Err(api(403)) }
        })
        .await;
        assert_eq!(calls, 1);
    }
}
