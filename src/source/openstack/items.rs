//! Snapshots, volumes, images and ports that a clone is made of: how they are named, created and
//! removed. Each is in the ledger before it is asked for.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::OpenstackDriver;
use super::catalogue::Service;
use super::describe::text;
use super::session::Call;
use crate::config::Platform;
use crate::ledger::mark::{Claim, Judgement, Shown, note_of};
use crate::ledger::{Ledger, Thing};
use crate::net::Poll;
use crate::source::{CloneRequest, SourceDriver, SourceError, SourceItem, permit};

/// Metadata that tells whose a thing is: the run's id, and the mark that proves it.
pub(super) const RUN_KEY: &str = "mtv-matrix-run";
pub(super) const MARK_KEY: &str = "mtv-matrix-mark";

/// The note of a server (`None`) or an item, wherever its service keeps it.
pub(super) fn note(kind: Option<Kind>, thing: &Value) -> Option<String> {
    let within = match kind {
        Some(Kind::Port) => return Some(text(thing, "/description").to_owned()).filter(|note| !note.is_empty()),
        Some(Kind::Image) => "",
        None | Some(Kind::Volume | Kind::Snapshot) => "/metadata",
    };
    note_of(Some(text(thing, &format!("{within}/{RUN_KEY}"))), Some(text(thing, &format!("{within}/{MARK_KEY}"))))
}

/// How long something that was asked for and not answered may take to appear.
const APPEARS: Duration = Duration::from_secs(10);

/// What a clone needs beside its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Port,
    Volume,
    Snapshot,
    Image,
}

impl Kind {
    /// In the order in which they can be removed.
    pub(super) const ALL: [Self; 4] = [Self::Port, Self::Volume, Self::Snapshot, Self::Image];

    /// As the ledger names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
            Self::Image => "image",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Service, path of one, path of the full listing, and the listing's key.
    fn place(self) -> (Service, &'static str, &'static str, &'static str) {
        match self {
            Self::Port => (Service::Network, "/ports", "/ports", "ports"),
            Self::Volume => (Service::Volume, "/volumes", "/volumes/detail", "volumes"),
            Self::Snapshot => (Service::Volume, "/snapshots", "/snapshots/detail", "snapshots"),
            Self::Image => (Service::Image, "/images", "/images", "images"),
        }
    }

    fn listing(self) -> (Call, &'static str) {
        let (service, _, path, key) = self.place();
        (Call::get(service, path), key)
    }

    /// The name of the `n`th of a clone; what follows the clone's name tells what it is for.
    pub(super) fn item_name(self, clone: &str, n: usize) -> String {
        match self {
            Self::Port => format!("{clone}-nic-{n}"),
            Self::Volume => format!("{clone}-disk-{n}"),
            Self::Snapshot => format!("{clone}-snap-{n}"),
            Self::Image => format!("{clone}-image"),
        }
    }
}

impl OpenstackDriver {
    /// Writes the intent, asks, and writes that it exists now. The id of what was made.
    pub(super) async fn create_item(
        &self,
        request: &CloneRequest<'_>,
        ledger: &Ledger,
        kind: Kind,
        name: &str,
        call: Call,
    ) -> Result<String, SourceError> {
        let instance = self.instance().await?;
        let entry = ledger.intent(
            Some(request.cell),
            Thing::SourceItem {
                profile: self.profile.name.clone(),
                platform: Platform::Openstack.name().to_owned(),
                kind: kind.name().to_owned(),
                name: name.to_owned(),
                id: None,
                instance,
            },
        )?;
        let what = format!("create {} {name}", kind.name());
        let answer = match self.session.call(call).await {
            Ok(answer) => answer,
            // The answer was lost, the thing may be there: looked for, never asked for twice.
            Err(error) if error.is_in_doubt() => {
                let what = format!("{} {name} to appear", kind.name());
                let appearing = self.appearing(&what, || async {
                    let found = self.named(kind, name).await?;
                    Ok(found.first().map(|item| text(item, "/id").to_owned()))
                });
                let Some(id) = appearing.await? else { return Err(self.session.failed(&what, error)) };
                ledger.done(entry, Some(id.clone()))?;
                return Ok(id);
            }
            Err(error) => return Err(self.session.failed(&what, error)),
        };
        let made = match kind {
            // In the body from microversion 2.45, in `Location` before.
            Kind::Image => match text(&answer.body, "/image_id") {
                "" => answer.location.as_deref().and_then(|l| l.trim_end_matches('/').rsplit('/').next()),
                id => Some(id),
            },
            other => Some(text(&answer.body, &format!("/{}/id", other.name()))),
        };
        let id = made.filter(|id| !id.is_empty()).map(str::to_owned);
        let id = id.ok_or_else(|| self.session.refused(what, "the answer holds no id"))?;
        ledger.done(entry, Some(id.clone()))?;
        Ok(id)
    }

    /// Something that was asked for without an answer, if it comes.
    pub(super) async fn appearing<F>(
        &self,
        what: &str,
        look: impl Fn() -> F + Send + Sync,
    ) -> Result<Option<String>, SourceError>
    where
        F: Future<Output = Result<Option<String>, super::error::CallError>> + Send,
    {
        let waited = self.session.wait(what, Instant::now() + APPEARS, || {
            let looking = look();
            async { Ok(looking.await?.map_or_else(|| Poll::NotYet("not there".to_owned()), Poll::Done)) }
        });
        match waited.await {
            Ok(id) => Ok(Some(id)),
            Err(SourceError::Timeout { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until a thing has the status `wanted`; any status of error ends the wait.
    pub(super) async fn wait_status(
        &self,
        kind: Kind,
        id: &str,
        name: &str,
        wanted: &str,
        deadline: Instant,
    ) -> Result<(), SourceError> {
        let (service, path, _, _) = kind.place();
        let key = if kind == Kind::Image { "" } else { kind.name() };
        let what = format!("{} {name} to be {wanted}", kind.name());
        let failed = |status: &str| {
            let cause = format!("it is {status}");
            self.session.refused(format!("wait for {what}"), cause)
        };
        self.session
            .wait(&what, deadline, || async {
                let found = self.session.read(service, format!("{path}/{id}"), key).await?;
                match text(&found, "/status") {
                    status if status == wanted => Ok(Poll::Done(())),
                    status if status.starts_with("error") || matches!(status, "killed" | "deleted" | "deactivated") => {
                        Err(failed(status).into())
                    }
                    status => Ok(Poll::NotYet(status.to_owned())),
                }
            })
            .await
    }

    /// Those of a kind with exactly this name.
    pub(super) async fn named(&self, kind: Kind, name: &str) -> Result<Vec<Value>, super::error::CallError> {
        let (call, key) = kind.listing();
        let mut found = self.session.list(call.with("name", name), key).await?;
        found.retain(|item| text(item, "/name") == name);
        Ok(found)
    }

    /// Items whose name begins with `prefix`; the filters of the services are exact, so all are read.
    pub(super) async fn items_like(&self, prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        let mut items = Vec::new();
        for kind in Kind::ALL {
            let (call, key) = kind.listing();
            let what = format!("list the {key}");
            let all = self.session.list(call, key).await.map_err(|e| self.session.failed(what, e))?;
            items.extend(all.iter().filter(|item| text(item, "/name").starts_with(prefix)).map(|item| SourceItem {
                kind: kind.name().to_owned(),
                name: text(item, "/name").to_owned(),
                id: text(item, "/id").to_owned(),
            }));
        }
        Ok(items)
    }

    /// A volume that was made of this snapshot and is still there.
    async fn volume_of_snapshot(&self, snapshot: &str) -> Result<Option<String>, super::error::CallError> {
        let (call, key) = Kind::Volume.listing();
        let all = self.session.list(call, key).await?;
        let found = all.iter().find(|volume| text(volume, "/snapshot_id") == snapshot);
        Ok(found.map(|volume| text(volume, "/id").to_owned()))
    }

    pub(super) async fn judge_item(&self, kind: &str, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        let Some(kind) = Kind::of(kind) else { return Ok(None) };
        let found = self.named(kind, claim.name).await;
        let found = found.map_err(|e| self.session.failed(format!("look for {} {}", kind.name(), claim.name), e))?;
        let judge = |item: &Value| {
            let note = note(Some(kind), item);
            claim.judge(Shown {
                kind: kind.name(),
                name: text(item, "/name"),
                id: text(item, "/id"),
                note: note.as_deref(),
            })
        };
        let mut judged: Vec<Judgement> = found.iter().map(judge).collect();
        // One that is not ours speaks for all of its name.
        judged.sort_by_key(|j| *j == Judgement::Ours);
        Ok(judged.into_iter().next())
    }

    /// Removes all of a kind with exactly this name and waits until none is left. What still uses
    /// them is waited for. `claim`: what each must prove right before; `None` for what is named after the
    /// id of a server that was proven.
    pub(super) async fn remove_named(
        &self,
        kind: Kind,
        name: &str,
        claim: Option<&Claim<'_>>,
        deadline: Instant,
    ) -> Result<bool, SourceError> {
        let (service, path, _, _) = kind.place();
        let seen = std::sync::atomic::AtomicBool::new(false);
        let what = format!("{} {name} to be deleted", kind.name());
        let attempt = || async {
            let found = self.named(kind, name).await?;
            if found.is_empty() {
                return Ok(Poll::Done(()));
            }
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            let mut state = String::new();
            for item in &found {
                let status = text(item, "/status");
                state = format!("{} {status}", text(item, "/id"));
                if status == "deleting" {
                    continue;
                }
                if let Some(claim) = claim {
                    let note = note(Some(kind), item);
                    let id = text(item, "/id");
                    let shown = Shown { kind: kind.name(), name: text(item, "/name"), id, note: note.as_deref() };
                    permit(&self.profile.name, claim, shown)?;
                }
                // Some storages break over a snapshot that a volume still depends on.
                if kind == Kind::Snapshot
                    && let Some(volume) = self.volume_of_snapshot(text(item, "/id")).await?
                {
                    state = format!("volume {volume} is made of it");
                    continue;
                }
                let mut call = Call::delete(service, format!("{path}/{}", text(item, "/id")));
                if kind == Kind::Volume {
                    // Snapshots of our own volumes go with them, whoever made them.
                    call = call.with("cascade", "true");
                }
                match self.session.call(call).await {
                    Ok(_) => {}
                    Err(error) if error.is(404) => {}
                    // In use, or its state forbids it for now.
                    Err(error) if error.is(400) || error.is(409) => state = format!("{status}: {}", error.text()),
                    Err(error) => return Err(error),
                }
            }
            Ok(Poll::NotYet(state))
        };
        self.session.wait(&what, deadline, attempt).await?;
        Ok(seen.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_named_after_its_clone_and_known_by_its_kind() {
        for kind in Kind::ALL {
            assert!(kind.item_name("mm-a-vm-x", 1).starts_with("mm-a-vm-x-"));
            assert_eq!(Kind::of(kind.name()), Some(kind));
        }
        assert_eq!(Kind::of("key"), None);
    }
}
