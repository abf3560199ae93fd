//! Whether the nth request of a class breaks, and how. Pure.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::FaultOptions;
use super::class::Effect;

/// One way in which a request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 429 without a hint; nothing was done.
    TooMany,
    /// 429 with `Retry-After: 1`; nothing was done.
    RetryAfter,
    /// 500; nothing was done.
    Internal,
    /// 503 of a load balancer; nothing was done.
    Unavailable,
    /// The login is refused although it is right; nothing was done. A new login helps where there is one.
    Unauthorized,
    /// 403, in the API server's words: the right is missing. Never by rate, only aimed ([`super::Aim`]).
    Forbidden,
    /// 410: the version that a list or a watch begins from is forgotten.
    Gone,
    /// The connection is cut before an answer; nothing was done.
    ResetBefore,
    /// No answer until the client gives up; nothing was done.
    Stalled,
    /// The answer comes late.
    Slow,
    /// The connection is cut in the middle of the answer.
    ResetInBody,
    /// A whole answer with half of its text.
    CutBody,
    /// Half of the answer, then nothing until the client gives up.
    StalledBody,
    /// What the same question was answered before.
    Stale,
    /// It was done, and the connection is cut before the answer.
    LostAnswer,
    /// It was done, and a load balancer answers 504.
    GatewayTimeout,
    /// The connection is cut, and it is done later, unless it was asked for again.
    LateWrite,
    /// It is done twice; the second's answer comes.
    Duplicate,
    /// A watch that says nothing and does not end.
    SilentWatch,
    /// Every event of a watch comes twice.
    DuplicateEvents,
    /// What was upgraded (a port-forward) is cut in the middle.
    BrokenStream,
}

impl Fault {
    /// As the journal and the counts call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooMany => "429",
            Self::RetryAfter => "429-retry-after",
            Self::Internal => "500",
            Self::Unavailable => "503",
            Self::Unauthorized => "401",
            Self::Forbidden => "403",
            Self::Gone => "410",
            Self::ResetBefore => "reset-before",
            Self::Stalled => "stalled",
            Self::Slow => "slow",
            Self::ResetInBody => "reset-in-body",
            Self::CutBody => "cut-body",
            Self::StalledBody => "stalled-body",
            Self::Stale => "stale",
            Self::LostAnswer => "lost-answer",
            Self::GatewayTimeout => "504-done",
            Self::LateWrite => "late-write",
            Self::Duplicate => "duplicate",
            Self::SilentWatch => "silent-watch",
            Self::DuplicateEvents => "duplicate-events",
            Self::BrokenStream => "broken-stream",
        }
    }
}

/// What can happen to a request of this effect. A fault that stands twice is twice as likely.
fn possible(effect: Effect) -> &'static [Fault] {
    use Fault::{
        BrokenStream, CutBody, Duplicate, DuplicateEvents, GatewayTimeout, Gone, Internal, LateWrite, LostAnswer,
        ResetBefore, ResetInBody, RetryAfter, SilentWatch, Slow, Stale, Stalled, StalledBody, TooMany, Unauthorized,
        Unavailable,
    };
    match effect {
        Effect::Read => &[
            TooMany,
            RetryAfter,
            Internal,
            Unavailable,
            Unavailable,
            Unauthorized,
            ResetBefore,
            ResetBefore,
            Stalled,
            Slow,
            Slow,
            ResetInBody,
            CutBody,
            StalledBody,
            Stale,
            Stale,
        ],
        // Half of a list may be asked for by a version that is forgotten; the first half may not.
        Effect::ReadOn => &[Gone, Unavailable, ResetBefore, ResetInBody, CutBody, Slow],
        Effect::Write => &[
            TooMany,
            RetryAfter,
            Internal,
            Unavailable,
            Unauthorized,
            ResetBefore,
            Stalled,
            Slow,
            LostAnswer,
            LostAnswer,
            GatewayTimeout,
            LateWrite,
            Duplicate,
            CutBody,
        ],
        Effect::Watch => &[
            TooMany,
            RetryAfter,
            Internal,
            Unavailable,
            Gone,
            ResetBefore,
            Slow,
            ResetInBody,
            SilentWatch,
            SilentWatch,
            DuplicateEvents,
        ],
        Effect::Upgrade => &[Internal, Unavailable, ResetBefore, Stalled, Slow, BrokenStream, BrokenStream],
        Effect::Login => &[TooMany, RetryAfter, Internal, Unavailable, ResetBefore, Stalled, Slow, LostAnswer, CutBody],
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub fault: Fault,
    /// Chooses within the fault: how late, after how many events.
    pub dice: u64,
    /// Of the mild ones.
    pub mild: bool,
}

impl Planned {
    /// A time between the two.
    pub(super) fn between(self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX).max(1);
        least + Duration::from_millis(self.dice % span)
    }
}

/// The decision for request number `count` of a class, where only what a second try heals may break: nothing
/// was done, or the answer is a little late. A read is answered then, and a write that was refused by 429.
pub(super) fn decide_mild(
    options: FaultOptions,
    endpoint: &str,
    class: &str,
    effect: Effect,
    count: u64,
) -> Option<Planned> {
    use Fault::{ResetBefore, Slow, TooMany, Unavailable};
    let faults: &[Fault] = match effect {
        // What goes on from a page that was read can't be asked for again.
        Effect::Read if class.starts_with("Continue") => &[TooMany, Slow],
        Effect::Read | Effect::Watch | Effect::ReadOn => {
            &[TooMany, TooMany, Unavailable, Unavailable, ResetBefore, Slow]
        }
        Effect::Write => &[TooMany, Slow],
        Effect::Login | Effect::Upgrade => return None,
    };
    drawn(options.mild, options.seed ^ MILD, endpoint, class, count, faults)
        .map(|planned| Planned { mild: true, ..planned })
}

/// Makes the draws of mild faults others than those of the rest.
const MILD: u64 = 0x6d69_6c64;

/// The decision for request number `count` of `class` at `endpoint`.
pub(super) fn decide(
    options: FaultOptions,
    endpoint: &str,
    class: &str,
    effect: Effect,
    count: u64,
) -> Option<Planned> {
    drawn(options.rate, options.seed, endpoint, class, count, possible(effect))
}

fn drawn(rate: f64, seed: u64, endpoint: &str, class: &str, count: u64, faults: &[Fault]) -> Option<Planned> {
    if rate <= 0.0 {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(endpoint);
    hash.update([0]);
    hash.update(class);
    hash.update(count.to_be_bytes());
    let hash = hash.finalize();
    let word = |index: usize| hash.iter().skip(index * 8).take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    // 53 bits are what a double holds.
    let chance = (word(0) >> 11) as f64 / (1u64 << 53) as f64;
    if chance >= rate {
        return None;
    }
    let index = usize::try_from(word(1) % faults.len() as u64).unwrap_or_default();
    faults.get(index).map(|fault| Planned { fault: *fault, dice: word(2), mild: false })
}
