//! Ctrl-C and SIGTERM: once is "stop starting, cancel, tear down, report"; twice is "stop now".

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::event::{EventKind, Events};

/// Listens until dropped.
pub fn listen(
    events: Events,
    cancel: CancellationToken,
    abort: CancellationToken,
) -> std::io::Result<AbortOnDropHandle<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            events.emit(EventKind::Interrupted { signal: name.to_owned() });
            if cancel.is_cancelled() {
                abort.cancel();
            }
            cancel.cancel();
        }
    })))
}
