//! `upgrade`: a command of the user's brings MTV to another release between two halves of a story.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::super::Failure;
use super::actor::Actor;
use crate::api::version::Version;
use crate::cluster::WaitError;
use crate::cluster::wait::{self, Poll};
use crate::doctor::versions::read_versions;
use crate::event::{Level, Problem};

/// How long a command that is told to end gets for it.
const ENDS: Duration = Duration::from_secs(15);
/// Lines of its output that a failure tells.
const LINES: usize = 20;
/// Its output, among the artifacts of the attempt.
const LOG: &str = "upgrade.log";

/// A command at work; it ends with its owner.
struct Running(Mutex<Child>);

impl Running {
    fn look(&self) -> std::io::Result<Option<ExitStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).try_wait()
    }

    /// Asks it to end.
    fn tell(&self) {
        let id = self.0.lock().unwrap_or_else(PoisonError::into_inner).id();
        if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    async fn end(&self, what: &str, limit: Duration) -> Result<std::io::Result<ExitStatus>, WaitError> {
        let look = || async {
            match self.look() {
                Ok(Some(status)) => Poll::Done(Ok(status)),
                Ok(None) => Poll::NotYet("it runs".to_owned()),
                Err(error) => Poll::Done(Err(error)),
            }
        };
        wait::poll(what, limit, look).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let child = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !matches!(child.try_wait(), Ok(Some(_))) {
            // One that has ended needs no killing, and neither can be told any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Actor<'_> {
    pub(super) async fn upgrade(&mut self, limit: Duration) -> Result<(), Failure> {
        let parts = &self.context.parts;
        let settings = &parts.settings;
        let before = self.context.mtv_version().unwrap_or_default();
        let wanted = settings.upgrade_to.as_deref();
        let Some((program, arguments)) = settings.upgrade_command.split_first() else {
            return Err(Failure::skipped("`upgrade_command` is not set"));
        };
        let failed = |why: String| Failure::environment(Problem::new(format!("`upgrade_command` ({program}) {why}")));
        let log = self.context.artifact(self.cell, self.attempt, LOG).map_err(&failed)?;
        let output = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = output.map_err(|error| failed(format!("has no place for its output: {error}")))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("MTV_FROM", &before)
            .env("MTV_VERSION", wanted.unwrap_or_default())
            .env("MTV_NAMESPACE", &settings.mtv_namespace)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let child = command.spawn().map_err(|error| failed(format!("can't be started: {error}")))?;
        let ended = ended(&Running(Mutex::new(child)), limit).await;
        self.context.tell_artifact(self.cell, self.attempt, LOG, "log");
        ended.map_err(|why| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
            failed(format!("{why}; its last words: {last}"))
        })?;
        let (cluster, namespace) = (&parts.cluster, settings.mtv_namespace.as_str());
        let is_there = |now: &str| match wanted {
            Some(wanted) => Version::parse(now) == Version::parse(wanted),
            None => Version::parse(now) != Version::parse(&before),
        };
        let goal = wanted.map_or_else(|| format!("another MTV than {before}"), |wanted| format!("MTV {wanted}"));
        let now = wait::poll(&goal, limit, || async {
            match read_versions(cluster, namespace).await.mtv {
                Some(now) if is_there(&now) => Poll::Done(now),
                Some(now) => Poll::NotYet(format!("MTV {now}")),
                None => Poll::NotYet("nobody tells which MTV is installed".to_owned()),
            }
        });
        let now = now.await?;
        self.context.note(Some(&self.cell.id), Level::Info, format!("MTV {before} became {now}"));
        self.context.upgraded(now);
        Ok(())
    }
}

/// Waits for its end, which must be a good one; what does not end is told to, and then made to.
async fn ended(running: &Running, limit: Duration) -> Result<(), String> {
    // The step's own bound is a little later.
    match running.end("upgrade_command to end", limit.saturating_sub(2 * ENDS)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(late) => {
            running.tell();
            let _ = running.end("upgrade_command to end as it was told", ENDS).await;
            Err(late.to_string())
        }
    }
}
