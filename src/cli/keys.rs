//! Keys while a run goes in a terminal: `t` asks what is waited for, `q` ends it as Ctrl-C does.
//!
//! Only where standard input is a terminal and this process is in front of it. Lines and echo are off meanwhile;
//! signals of the keyboard stay the terminal's. It gets its own modes back when the keys are let go, on a panic, and
//! when the process is stopped by Ctrl-Z; what was typed and not read stays for the shell. (After a `kill -9` nobody
//! can: shells that edit lines set their own modes at the prompt, for others there is `stty sane`.)

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use rustix::process::{getpgrp, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Tell,
    End,
}

/// The modes of the terminal, as they were before.
struct Modes {
    terminal: File,
    before: Termios,
}

impl Modes {
    /// Who is in the background gets no keys, and is stopped when it touches the terminal.
    fn in_front(&self) -> bool {
        tcgetpgrp(&self.terminal).is_ok_and(|group| group == getpgrp())
    }

    /// Single keys, and not shown.
    fn take(&self) {
        let mut modes = self.before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        self.set(&modes);
    }

    fn give_back(&self) {
        self.set(&self.before);
    }

    fn set(&self, modes: &Termios) {
        if self.in_front() {
            // Without waiting for output: the terminal may be held (Ctrl-S).
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, modes);
        }
    }
}

/// Gives the terminal back when it is dropped.
pub(super) struct Borrowed(Arc<Modes>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// The keys of the terminal, from now on.
pub(super) struct Keys {
    modes: Arc<Modes>,
    input: AsyncFd<File>,
    stopped: Signal,
    goes_on: Signal,
}

impl Keys {
    /// `None` where there is no terminal to read from, or others do.
    pub(super) fn listen() -> Option<(Self, Borrowed)> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        // Opened anew: that a read does not wait is then a matter of this file alone, not of the shell's.
        let terminal = File::open("/dev/tty").ok()?;
        let before = tcgetattr(&terminal).ok()?;
        rustix::io::ioctl_fionbio(&terminal, true).ok()?;
        let modes = Arc::new(Modes { before, terminal: terminal.try_clone().ok()? });
        if !modes.in_front() {
            return None;
        }
        let of = |kind: rustix::process::Signal| signal(SignalKind::from_raw(kind.as_raw())).ok();
        let (stopped, goes_on) = (of(rustix::process::Signal::TSTP)?, of(rustix::process::Signal::CONT)?);
        let input = on_terminal(terminal)?;
        modes.take();
        Some((Self { modes: modes.clone(), input, stopped, goes_on }, Borrowed(modes)))
    }

    /// The next key that means something; `None`: the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<Key> {
        loop {
            tokio::select! {
                read = read(&self.input, &self.modes) => match meaning(&read?) {
                    Some(key) => return Some(key),
                    None => continue,
                },
                _ = self.stopped.recv() => {
                    self.modes.give_back();
                    let _ = kill_process(getpid(), rustix::process::Signal::STOP);
                }
                _ = self.goes_on.recv() => self.modes.take(),
            }
        }
    }
}

#[expect(deprecated, reason = "what replaces it is unsafe; this file stays the same one for as long as it is read")]
fn on_terminal(terminal: File) -> Option<AsyncFd<File>> {
    AsyncFd::new(terminal).ok()
}

/// What was typed; `None`: the terminal is gone.
async fn read(input: &AsyncFd<File>, modes: &Modes) -> Option<Vec<u8>> {
    loop {
        let mut ready = input.readable().await.ok()?;
        // A terminal that is gone stays ready for ever.
        if ready.ready().is_read_closed() {
            return None;
        }
        if !modes.in_front() {
            ready.clear_ready();
            continue;
        }
        let mut typed = [0; 64];
        match rustix::io::read(input.get_ref(), &mut typed) {
            Ok(0) => return None,
            Ok(read) => return typed.get(..read).map(<[u8]>::to_vec),
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Keys that were typed, not text that was pasted, and no sequence of a function key.
fn meaning(typed: &[u8]) -> Option<Key> {
    let (first, rest) = typed.split_first()?;
    if rest.iter().any(|other| other != first) {
        return None;
    }
    match first {
        b't' | b'T' => Some(Key::Tell),
        b'q' | b'Q' => Some(Key::End),
        _ => None,
    }
}

/// Ends this process as Ctrl-C does.
pub(super) fn interrupt() {
    let _ = kill_process(getpid(), rustix::process::Signal::INT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_something_and_pasted_text_or_an_arrow_does_not() {
        assert_eq!(meaning(b"t"), Some(Key::Tell));
        assert_eq!(meaning(b"ttt"), Some(Key::Tell));
        assert_eq!(meaning(b"q"), Some(Key::End));
        for other in [&b"quit tests"[..], b"\x1b[A", b"x", b"\n", b""] {
            assert_eq!(meaning(other), None, "{other:?}");
        }
    }
}
