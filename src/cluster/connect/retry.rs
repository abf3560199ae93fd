//! Our own retry policy: short, bounded, for transient answers only.
//!
//! The only module that uses the crate `backoff`. kube's built-in retry layer is off, because it
//! can hold one call for minutes. What is retried here is safe to repeat: reads, and creates whose
//! fixed name makes the second one answer 409.

use std::future::Future;
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;
use http::StatusCode;
use tokio::time::Instant;

use super::rights::rule_for;
use crate::cluster::wait::pause;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Growing pauses with jitter, from 100 ms to 5 s, until `limit` is over.
#[derive(Debug)]
pub struct Pauses {
    policy: backoff::ExponentialBackoff,
    deadline: Instant,
}

impl Pauses {
    pub fn new(limit: Duration) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST_PAUSE)
            .with_max_interval(LONGEST_PAUSE)
            .with_multiplier(1.7)
            .with_randomization_factor(0.2)
            // The deadline is ours, on tokio's clock.
            .with_max_elapsed_time(None)
            .build();
        Self { policy, deadline: Instant::now() + limit }
    }

    /// The next pause, at least `asked` (a Retry-After); `None` when it would pass the deadline.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let pause = self.policy.next_backoff().unwrap_or(LONGEST_PAUSE).max(asked.unwrap_or_default());
        (Instant::now() + pause < self.deadline).then_some(pause)
    }

    /// Begin with short pauses again: something worked.
    pub fn reset(&mut self) {
        self.policy.reset();
    }
}

/// Whether a status says "try again": too many requests, or a server that is not well.
pub fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether `error` may go away by itself.
pub fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => StatusCode::from_u16(status.code).is_ok_and(is_transient_status),
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// What the server asked for in the body of its refusal.
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    match error {
        kube::Error::Api(status) => status
            .details
            .as_ref()
            .map(|d| d.retry_after_seconds)
            .filter(|s| *s > 0)
            .map(|s| Duration::from_secs(s.into())),
        _ => None,
    }
}

/// Repeats `attempt` while it fails with a transient error and `limit` is not over.
/// `what` is for the log, e.g. `create Plan ns/name`.
pub async fn transient<T, F, Fut>(what: &str, limit: Duration, mut attempt: F) -> Result<T, kube::Error>
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<T, kube::Error>> + Send,
{
    let mut pauses = Pauses::new(limit);
    loop {
        match attempt().await {
            Err(error) if is_transient(&error) => match pauses.next(retry_after(&error)) {
                Some(time) => {
                    tracing::debug!(what, error = %short(&error), "transient error, trying again");
                    pause(time).await;
                }
                None => return Err(error),
            },
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

/// The messages of an error and its causes, without the ones that repeat.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
