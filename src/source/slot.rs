//! The one session of a profile: logged in once, shared by all calls, renewed when the platform has ended it.
//!
//! And the one way of calling: retries by the policy of [`crate::net`], renewal where the session is over.
//! What a login is, is the driver's matter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::SourceError;
use crate::net::repeat::Repeat;
use crate::net::{Failed, Peer};

/// Where a session is kept.
#[derive(Debug)]
pub(super) struct Slot<L> {
    /// Held during a login, so that concurrent calls make one.
    live: Mutex<Option<Arc<L>>>,
    peer: Peer,
}

impl<L> Slot<L> {
    /// `name`: the profile's, for retries to tell.
    pub(super) fn new(name: &str) -> Self {
        Self { live: Mutex::new(None), peer: Peer::new(name) }
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Forgets `dead`, unless somebody logged in again already.
    async fn forget(&self, dead: &Arc<L>) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|live| Arc::ptr_eq(live, dead)) {
            *slot = None;
        }
    }
}

/// What one failed try means, in a driver's own error type.
pub(super) trait Tried: From<SourceError> + Send + Sync {
    /// The platform has ended the session, so that it did nothing.
    fn session_ended(&self) -> bool;
    /// What the try proves.
    fn failed(&self) -> Failed;
    /// For the one who hears of a retry.
    fn told(&self) -> String;
}

/// A driver's way of logging in and out.
pub(super) trait Sessions: Sync {
    type Live: Send + Sync;
    type Error: Tried;

    fn slot(&self) -> &Slot<Self::Live>;
    /// One try takes this long at most.
    fn request_timeout(&self) -> Duration;
    /// One login, tried once.
    fn login(&self) -> impl Future<Output = Result<Self::Live, Self::Error>> + Send;
    /// Best effort: the platform ends idle sessions by itself.
    fn logout(&self, live: &Self::Live) -> impl Future<Output = ()> + Send;

    /// The session, logged in where it is not yet.
    fn live(&self) -> impl Future<Output = Result<Arc<Self::Live>, Self::Error>> + Send {
        async {
            let mut slot = self.slot().live.lock().await;
            if let Some(live) = slot.as_ref() {
                return Ok(live.clone());
            }
            // A second login is a second session, which ends by itself.
            let mut attempts = self.slot().peer.attempts("login", Repeat::Safe, self.request_timeout());
            loop {
                match self.login().await {
                    Ok(live) => {
                        self.slot().peer.has_answered();
                        let live = Arc::new(live);
                        *slot = Some(live.clone());
                        return Ok(live);
                    }
                    Err(error) if attempts.again(error.failed(), || error.told()).await => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Logs in anew.
    fn connect(&self) -> impl Future<Output = Result<Arc<Self::Live>, Self::Error>> + Send {
        async {
            self.disconnect().await;
            self.live().await
        }
    }

    fn disconnect(&self) -> impl Future<Output = ()> + Send {
        async {
            let live = self.slot().live.lock().await.take();
            if let Some(live) = live {
                self.logout(&live).await;
            }
        }
    }

    /// A session other than `dead`.
    fn renew(&self, dead: &Arc<Self::Live>) -> impl Future<Output = Result<Arc<Self::Live>, Self::Error>> + Send {
        async {
            self.slot().forget(dead).await;
            self.live().await
        }
    }

    /// One call. A session that the platform has ended is renewed once; a call that was refused for it did
    /// nothing, so that every call may be repeated then. Other failures are repeated by the policy.
    fn calling<T: Send, F: Future<Output = Result<T, Self::Error>> + Send>(
        &self,
        what: &str,
        repeat: Repeat,
        call: impl Fn(Arc<Self::Live>) -> F + Send + Sync,
    ) -> impl Future<Output = Result<T, Self::Error>> + Send {
        async move {
            let mut live = self.live().await?;
            let mut renewed = false;
            let mut attempts = self.slot().peer.attempts(what, repeat, self.request_timeout());
            loop {
                let turn = self.slot().peer.turn().await;
                let answer = call(live.clone()).await;
                drop(turn);
                match answer {
                    Err(error) if error.session_ended() && !renewed => {
                        renewed = true;
                        live = self.renew(&live).await?;
                    }
                    Err(error) if attempts.again(error.failed(), || error.told()).await => {}
                    other => return other,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug)]
    enum Trouble {
        Ended,
        Cut,
        Refused,
    }

    impl From<SourceError> for Trouble {
        fn from(_: SourceError) -> Self {
            Self::Refused
        }
    }

    impl Tried for Trouble {
        fn session_ended(&self) -> bool {
            matches!(self, Self::Ended)
        }
        fn failed(&self) -> Failed {
            if matches!(self, Self::Cut) { Failed::Unknown(None) } else { Failed::Definite }
        }
        fn told(&self) -> String {
            format!("{self:?}")
        }
    }

    struct Platform {
        slot: Slot<u32>,
        logins: AtomicU32,
        logouts: AtomicU32,
    }

    impl Sessions for Platform {
        type Live = u32;
        type Error = Trouble;
        fn slot(&self) -> &Slot<u32> {
            &self.slot
        }
        fn request_timeout(&self) -> Duration {
            Duration::from_secs(10)
        }
        async fn login(&self) -> Result<u32, Trouble> {
            tokio::task::yield_now().await;
            Ok(self.logins.fetch_add(1, Ordering::SeqCst) + 1)
        }
        async fn logout(&self, _: &u32) {
            self.logouts.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn platform() -> Platform {
        Platform { slot: Slot::new("p"), logins: AtomicU32::new(0), logouts: AtomicU32::new(0) }
    }

    #[tokio::test]
    async fn calls_at_the_same_time_make_one_login_and_one_renewal() {
        let platform = platform();
        let answer = |live: Arc<u32>| async move { if *live == 1 { Err(Trouble::Ended) } else { Ok(*live) } };
        let call = || platform.calling("x", Repeat::IfUndone, answer);
        let (a, b, c) = futures::join!(call(), call(), call());
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (2, 2, 2));
        assert_eq!(platform.logins.load(Ordering::SeqCst), 2);
        platform.disconnect().await;
        platform.disconnect().await;
        assert_eq!(platform.logouts.load(Ordering::SeqCst), 1, "one session, one end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_answer_is_asked_for_again_where_that_is_safe_and_only_there() {
        let platform = platform();
        let tries = AtomicU32::new(0);
        let call = |_: Arc<u32>| {
            let tried = tries.fetch_add(1, Ordering::SeqCst);
            async move { if tried < 2 { Err(Trouble::Cut) } else { Ok(tried) } }
        };
        assert_eq!(platform.calling("read", Repeat::Safe, &call).await.unwrap(), 2);
        tries.store(0, Ordering::SeqCst);
        assert!(platform.calling("make", Repeat::IfUndone, &call).await.is_err());
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        let refuse = |_: Arc<u32>| async { Err::<(), _>(Trouble::Refused) };
        assert!(platform.calling("read", Repeat::Safe, refuse).await.is_err());
    }

    #[tokio::test]
    async fn a_session_that_ends_again_at_once_is_not_renewed_for_ever() {
        let platform = platform();
        let ended = |_: Arc<u32>| async { Err::<(), _>(Trouble::Ended) };
        assert!(platform.calling("x", Repeat::Safe, ended).await.is_err());
        assert_eq!(platform.logins.load(Ordering::SeqCst), 2);
    }
}
