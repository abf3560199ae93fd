//! The one retry policy: growing pauses with jitter, within a deadline, `Retry-After` honoured, each
//! retry told.
//!
//! What is repeated depends on two things: whether the request is safe to repeat ([`super::repeat`]) and
//! what the failed try proves ([`Failed`]).

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::pauses::{Pauses, pause};
use super::repeat::Repeat;
use super::told::{self, Retry};

/// Before the first answer ever, a wrong address is likelier than weather: say so soon.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// How long one request may take with all its retries, as a multiple of the time of one try.
pub const RETRY_FACTOR: u32 = 3;

/// A server that says when to come again is busy, not ill: it is asked so many times longer. A thousand cells at once keep an
/// API server busy for minutes.
const BUSY_FACTOR: u32 = 5;

/// What a failed try proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Nothing was done: no connection, or refused before it was looked at (429). With the wish of the server.
    Undone(Option<Duration>),
    /// It may have been done: no answer, half of one, or a server that is not well.
    Unknown(Option<Duration>),
    /// An answer that repeating does not change.
    Definite,
}

impl Failed {
    /// By an answer's status and headers.
    pub fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        let asked = || headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(retry_after);
        match status.as_u16() {
            429 => Self::Undone(asked()),
            408 | 500 | 502 | 503 | 504 => Self::Unknown(asked()),
            _ => Self::Definite,
        }
    }

    /// By an error of reqwest or hyper, wherever in the chain of causes it stands.
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut connecting = false;
        let mut next = Some(error);
        while let Some(one) = next {
            if let Some(error) = one.downcast_ref::<reqwest::Error>() {
                if error.is_builder() || error.is_redirect() {
                    return Self::Definite;
                }
                connecting |= error.is_connect();
            }
            connecting |= one.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|e| e.is_connect());
            // A certificate, a bad CA: time does not heal it.
            if one.downcast_ref::<rustls::Error>().is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_))) {
                return Self::Definite;
            }
            if let Some(io) = one.downcast_ref::<std::io::Error>()
                && let Some(inner) = io.get_ref()
                && let Some(error) = inner.downcast_ref::<rustls::Error>()
                && matches!(error, rustls::Error::InvalidCertificate(_))
            {
                return Self::Definite;
            }
            next = one.source();
        }
        if connecting { Self::Undone(None) } else { Self::Unknown(None) }
    }
}

/// `Retry-After`: seconds, or a date of HTTP.
pub fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(crate::clock::now())).unwrap_or_default())
}

/// Requests at once to one peer, watches and other long waits aside. Each takes a connection, and a thousand cells that
/// begin together would open thousands: vCenter and API servers refuse or slow down long before.
const AT_ONCE: usize = 32;
/// Connections without a request that are kept to one host, for a client's builder: as many as have a turn. With fewer
/// each burst opened them anew, and a handshake costs both sides more than a request does.
pub const IDLE_CONNECTIONS: usize = AT_ONCE;

/// Somebody who is asked: a cluster, a platform, the inventory.
#[derive(Debug)]
pub struct Peer {
    name: String,
    turns: Semaphore,
    /// It has answered at least once.
    answered: AtomicBool,
}

impl Peer {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), turns: Semaphore::new(AT_ONCE), answered: AtomicBool::new(false) }
    }

    /// A turn for one try, held while it goes on. Nothing that lasts takes one: it would keep the others waiting.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// Something came back, whatever it said.
    pub fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Tries of one request, whose single try takes `timeout` at most. `what` names it without its arguments.
    pub fn attempts(&self, what: impl Into<String>, repeat: Repeat, timeout: Duration) -> Attempts {
        let whole = timeout * RETRY_FACTOR;
        let limit = if self.answered.load(Ordering::Relaxed) { whole } else { whole.min(FIRST_PATIENCE) };
        Attempts::new(self.name.clone(), what, repeat, limit)
    }
}

/// The tries of one request.
#[derive(Debug)]
pub struct Attempts {
    peer: String,
    what: String,
    repeat: Repeat,
    pauses: Pauses,
    /// After a refusal with a wish.
    busy: Pauses,
}

impl Attempts {
    /// All tries begin within `limit`; where the server is busy and says when to come again, within five times that.
    pub fn new(peer: impl Into<String>, what: impl Into<String>, repeat: Repeat, limit: Duration) -> Self {
        let busy = Pauses::new(limit * BUSY_FACTOR);
        Self { peer: peer.into(), what: what.into(), repeat, pauses: Pauses::new(limit), busy }
    }

    /// After a try that failed: waits, tells, and says `true` where it is to be sent again.
    pub async fn again(&mut self, failed: Failed, cause: impl FnOnce() -> String) -> bool {
        let asked = match (failed, self.repeat) {
            (Failed::Undone(asked), _) | (Failed::Unknown(asked), Repeat::Safe) => asked,
            (Failed::Unknown(_), Repeat::IfUndone) | (Failed::Definite, _) => return false,
        };
        let pauses = if let Failed::Undone(Some(_)) = failed { &mut self.busy } else { &mut self.pauses };
        let Some(time) = pauses.next(asked) else { return false };
        told::tell(&Retry { peer: self.peer.clone(), what: self.what.clone(), cause: cause(), pause: time });
        pause(time).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(after: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::RETRY_AFTER, http::HeaderValue::from_static(after))])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_safe_is_repeated_after_any_doubt_and_the_rest_only_after_a_proof_that_nothing_was_done() {
        for (repeat, failed, again) in [
            (Repeat::Safe, Failed::Unknown(None), true),
            (Repeat::Safe, Failed::Undone(None), true),
            (Repeat::Safe, Failed::Definite, false),
            (Repeat::IfUndone, Failed::Unknown(None), false),
            (Repeat::IfUndone, Failed::Undone(None), true),
            (Repeat::IfUndone, Failed::Definite, false),
        ] {
            let mut attempts = Attempts::new("p", "w", repeat, Duration::from_secs(10));
            assert_eq!(attempts.again(failed, String::new).await, again, "{repeat:?} {failed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tries_end_at_the_limit_and_each_is_told() {
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let hears = std::sync::Arc::clone(&heard);
        let begun = tokio::time::Instant::now();
        told::scope(std::sync::Arc::new(move |r: &Retry| hears.lock().unwrap().push(r.clone())), async {
            let mut attempts = Attempts::new("vc", "Login", Repeat::Safe, Duration::from_secs(10));
            while attempts.again(Failed::Unknown(None), || "no answer".to_owned()).await {}
        })
        .await;
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let heard = heard.lock().unwrap();
        assert!(heard.len() > 3 && heard.iter().all(|r| r.peer == "vc" && r.cause == "no answer"), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_when_to_come_again_is_busy_and_asked_for_longer() {
        let begun = tokio::time::Instant::now();
        let mut attempts = Attempts::new("p", "w", Repeat::IfUndone, Duration::from_secs(10));
        while attempts.again(Failed::Undone(Some(Duration::from_secs(1))), String::new).await {}
        assert_eq!(begun.elapsed(), Duration::from_secs(50));
        // What is ill in between gets no more time for it.
        assert!(!attempts.again(Failed::Undone(None), String::new).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_answered_is_soon_given_up() {
        let peer = Peer::new("p");
        let begun = tokio::time::Instant::now();
        let mut attempts = peer.attempts("x", Repeat::Safe, Duration::from_secs(30));
        while attempts.again(Failed::Undone(None), String::new).await {}
        assert_eq!(begun.elapsed(), FIRST_PATIENCE);
        peer.has_answered();
        let begun = tokio::time::Instant::now();
        let mut attempts = peer.attempts("x", Repeat::Safe, Duration::from_secs(30));
        while attempts.again(Failed::Undone(None), String::new).await {}
        assert_eq!(begun.elapsed(), Duration::from_secs(90));
    }

    #[test]
    fn a_servers_wish_is_read_as_seconds_or_as_a_date() {
        let failed = |code: u16, after| Failed::of_answer(StatusCode::from_u16(code).unwrap(), &headers(after));
        assert_eq!(failed(429, "7"), Failed::Undone(Some(Duration::from_secs(7))));
        assert_eq!(failed(503, "1"), Failed::Unknown(Some(Duration::from_secs(1))));
        assert_eq!(failed(404, "1"), Failed::Definite);
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
