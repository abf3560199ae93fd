//! Ctrl-C, SIGTERM and SIGHUP (a terminal or a CI connection that went away): once is "stop starting, cancel,
//! tear down, report"; twice, or the end of the grace period, is "stop now".

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::duration;
use crate::engine::StopTokens;
use crate::event::{EventKind, Events, Level};
use crate::tasks::{self, Task};

/// The process's signals, held back from their default from the first moment: one that comes before
/// anybody listens is not lost.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one's name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }

    /// Listens until dropped. `grace`: how long tearing down may take after the first signal.
    pub fn listen(mut self, events: Events, stop: &StopTokens, grace: Duration) -> Task<()> {
        let (cancel, abort) = (stop.cancel.clone(), stop.abort.clone());
        tasks::own(async move {
            let mut until: Option<Instant> = None;
            loop {
                let came = match until {
                    None => Ok(self.next().await),
                    Some(until) => tokio::time::timeout_at(until, self.next()).await,
                };
                let Ok(name) = came else {
                    let message = format!(
                        "the grace period of {} is over: what is not torn down is left to `mtv-matrix clean`",
                        duration::show(grace)
                    );
                    events.emit(EventKind::Note { cell: None, level: Level::Warning, message });
                    abort.cancel();
                    until = None;
                    continue;
                };
                events.emit(EventKind::Interrupted { signal: name.to_owned() });
                if cancel.is_cancelled() {
                    abort.cancel();
                } else {
                    until = Some(Instant::now() + grace);
                }
                cancel.cancel();
            }
        })
    }
}
