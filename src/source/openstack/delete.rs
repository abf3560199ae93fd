//! Removing a clone for good, with everything that was made for it, finished or not.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::OpenstackDriver;
use super::catalogue::Service;
use super::describe::text;
use super::items::{Kind, note};
use super::session::Call;
use crate::ledger::mark::{Claim, Judgement, Shown};
use crate::net::Poll;
use crate::source::{SourceError, VM, VmRef, permit};

/// How often is looked for a server that an aborted request made after all.
const LOOKS: u32 = 3;

fn shown<'a>(server: &'a Value, note: Option<&'a str>) -> Shown<'a> {
    Shown { kind: VM, name: text(server, "/name"), id: text(server, "/id"), note }
}

impl OpenstackDriver {
    /// The claimed server and whose it is. Of several with its name the one that is proven.
    pub(super) async fn claimed(&self, claim: &Claim<'_>) -> Result<Option<(Value, Judgement)>, SourceError> {
        let mut candidates = self.servers_like(claim.name).await?;
        candidates.retain(|server| text(server, "/name") == claim.name);
        if let Some(id) = claim.id.filter(|id| candidates.iter().all(|server| text(server, "/id") != *id)) {
            let found = self.session.look_up(Service::Compute, format!("/servers/{id}"), "server").await;
            candidates.extend(found.map_err(|e| self.session.failed(format!("read server {id}"), e))?);
        }
        let mut found: Option<(Value, Judgement)> = None;
        for server in candidates {
            let note = note(None, &server);
            let judgement = claim.judge(shown(&server, note.as_deref()));
            if judgement == Judgement::Ours {
                return Ok(Some((server, judgement)));
            }
            found.get_or_insert((server, judgement));
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let name = claim.name;
        let deadline = Instant::now() + self.options.timeouts.delete;
        let mut any = false;
        for _ in 0..LOOKS {
            if let Some((server, _)) = self.claimed(claim).await? {
                any = true;
                let note = note(None, &server);
                permit(&self.profile.name, claim, shown(&server, note.as_deref()))?;
                let vm = VmRef { id: text(&server, "/id").to_owned(), name: name.to_owned() };
                let attached = server.get("os-extended-volumes:volumes_attached").and_then(Value::as_array);
                let volumes: Vec<&str> = attached.into_iter().flatten().map(|v| text(v, "/id")).collect();
                self.delete_server(&vm, deadline).await?;
                self.remove_transfer(&vm, &volumes, deadline).await?;
            }
            // Servers first: ports and volumes are in use until theirs is gone. Ports that are passed to
            // a server outlive it, and so does what was made for a server that never came to be.
            let items = self.items_like(&format!("{name}-")).await?;
            for kind in Kind::ALL {
                for item in items.iter().filter(|item| item.kind == kind.name()) {
                    let own = Claim { name: &item.name, id: None, ..*claim };
                    match self.remove_named(kind, &item.name, Some(&own), deadline).await {
                        Ok(removed) => any |= removed,
                        // Somebody's thing with a name like ours is no reason to leave ours.
                        Err(SourceError::NotOurs { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            if self.claimed(claim).await?.is_none() {
                return Ok(any);
            }
        }
        Err(self.session.refused(format!("delete {name}"), "a server of that name comes again and again"))
    }

    async fn delete_server(&self, vm: &VmRef, deadline: Instant) -> Result<(), SourceError> {
        let path = format!("/servers/{}", vm.id);
        match self.session.call(Call::delete(Service::Compute, path.clone())).await {
            Ok(_) => {}
            Err(error) if error.is(404) => return Ok(()),
            Err(error) => return Err(self.session.failed(format!("delete server {}", vm.name), error)),
        }
        let what = format!("server {} to be gone", vm.name);
        self.session
            .wait(&what, deadline, || async {
                let Some(server) = self.session.look_up(Service::Compute, path.clone(), "server").await? else {
                    return Ok(Poll::Done(()));
                };
                match text(&server, "/status") {
                    "DELETED" => Ok(Poll::Done(())),
                    // A cloud with deferred deletion keeps it until it is forced.
                    "SOFT_DELETED" => {
                        let force =
                            Call::post(Service::Compute, format!("{path}/action"), json!({"forceDelete": null}));
                        match self.session.call(force).await {
                            Ok(_) => Ok(Poll::NotYet("SOFT_DELETED".to_owned())),
                            Err(error) if error.is(404) => Ok(Poll::Done(())),
                            Err(error) => Err(error),
                        }
                    }
                    status => Ok(Poll::NotYet(status.to_owned())),
                }
            })
            .await
    }

    /// What MTV made on the cloud to copy this server and did not remove: it is named after the
    /// server's id, so it is nobody else's.
    async fn remove_transfer(&self, vm: &VmRef, volumes: &[&str], deadline: Instant) -> Result<(), SourceError> {
        let image = format!("forklift-migration-vm-{}", vm.id);
        self.remove_named(Kind::Volume, &format!("volume created from {image}"), None, deadline).await?;
        self.remove_named(Kind::Snapshot, &format!("snapshot for {image}"), None, deadline).await?;
        for volume in volumes {
            self.remove_named(Kind::Image, &format!("{image}-volume-{volume}"), None, deadline).await?;
        }
        self.remove_named(Kind::Image, &image, None, deadline).await.map(drop)
    }

    pub(super) async fn delete_one(&self, kind: &str, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let name = claim.name;
        let Some(kind) = Kind::of(kind) else {
            return Err(self.session.refused(format!("delete {kind} {name}"), "no such kind of item is made here"));
        };
        self.remove_named(kind, name, Some(claim), Instant::now() + self.options.timeouts.delete).await
    }
}
