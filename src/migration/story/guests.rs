//! What a story does inside guests: markers, commands, a gentle end; and snapshots of the sources.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Failure;
use super::super::boot::{self, StillOn};
use super::super::inside::{self, Ran};
use super::super::marker::{Marker, judge_own, shortened};
use super::super::prepared::PreparedVm;
use super::super::settle::login_of;
use super::super::verify::{judged, target_name};
use super::actor::Actor;
use crate::api::kubevirt::VirtualMachine;
use crate::api::vm::{GuestOs, Power};
use crate::cluster::apply;
use crate::config::steps::{ReadMarker, Run, Snapshot, VmName};
use crate::event::{EventKind, Finding, Level, Outcome, Problem};
use crate::source::{SourceDriver, VmRef};

/// The check that says whether a marker came along.
const MARKER: &str = "marker";
/// What a snapshot is called where its step does not say.
const SNAPSHOT: &str = "mtv-matrix-story";

impl Actor<'_> {
    pub(super) async fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver().cloned() else {
            return Err(Failure::skipped(
                "a `snapshot` step can't be told: nobody here can reach VMs of this platform",
            ));
        };
        let name = snapshot.name.as_deref().unwrap_or(SNAPSHOT);
        let named: Vec<VmRef> = self.named(snapshot.vm.as_ref())?.iter().map(|vm| vm.reference.clone()).collect();
        for vm in named {
            driver.snapshot(&vm, name).await?;
            self.note(Level::Info, format!("source VM {}: snapshot {name} made", vm.name));
            // MTV may make its own meanwhile; this one is the story's.
            let now = driver.describe(&vm).await?.snapshots;
            if let Some(own) = self.prepared.vms.iter_mut().find(|own| own.reference == vm) {
                let known: BTreeSet<String> = own.before.snapshots.iter().map(|old| old.id.clone()).collect();
                own.before.snapshots.extend(now.into_iter().filter(|one| one.name == name && !known.contains(&one.id)));
            }
        }
        Ok(())
    }

    pub(super) fn note(&self, level: Level, message: String) {
        self.context.note(Some(&self.cell.id), level, message);
    }

    /// Whether VMs may be started for a test.
    pub(super) fn boots(&self) -> bool {
        self.context.parts.settings.boot && self.cell.scenario.boot.unwrap_or(true)
    }

    /// Whether anything of the migrated VMs is looked at.
    pub(super) fn looks(&self) -> bool {
        self.context.parts.settings.check_vms_signals && self.cell.scenario.check_vms_signals
    }

    /// Writes a marker into each guest. Where that comes to nothing the log says so, and `read-marker` judges nothing.
    pub(super) async fn write_markers(&mut self, named: Option<&VmName>) -> Result<(), Failure> {
        if !self.looks() {
            return Ok(());
        }
        let writes = self.named(named)?.into_iter().map(async |vm| {
            let name = &vm.reference.name;
            let driver = self.prepared.open.access.driver().filter(|driver| driver.reaches_guests());
            let Some(driver) = driver else {
                self.note(
                    Level::Info,
                    format!("no marker in {name}: nobody here can write into guests of its platform"),
                );
                return Ok::<_, Failure>(None);
            };
            let written = self.write_marker(driver.as_ref(), vm).await?;
            match &written {
                Ok(_) => self.note(Level::Info, format!("source VM {name}: a marker was written")),
                Err(why) => self.note(Level::Warning, format!("no marker in {name}: {why}")),
            }
            Ok(Some((vm.reference.id.clone(), written)))
        });
        let written: Vec<_> = futures::future::try_join_all(writes).await?;
        self.told.markers.extend(written.into_iter().flatten());
        Ok(())
    }

    /// `Ok(Err)`: why it can't be.
    async fn write_marker(
        &self,
        driver: &dyn SourceDriver,
        vm: &PreparedVm,
    ) -> Result<Result<Marker, String>, Failure> {
        let marker = Marker::new(vm.before.os);
        Ok(self.in_source(driver, vm, "its marker", marker.writing()).await?.map(|()| marker))
    }

    /// Runs a program in the guest of a source VM, which is started for it where it is off. `Ok(Err)`: why that came to
    /// nothing.
    pub(super) async fn in_source(
        &self,
        driver: &dyn SourceDriver,
        vm: &PreparedVm,
        purpose: &str,
        (program, arguments): (&str, String),
    ) -> Result<Result<(), String>, Failure> {
        let login = match login_of(&self.prepared, vm) {
            Ok(login) => login,
            Err(why) => return Ok(Err(why)),
        };
        let was_on = driver.power(&vm.reference).await? == Power::On;
        if !was_on && !self.boots() {
            return Ok(Err("the VM is off, and `boot` is switched off: nobody starts it".to_owned()));
        }
        let limit = self.context.parts.settings.timeouts.guest_info;
        let run = async {
            if !was_on {
                let how = driver.set_power(&vm.reference, true).await?;
                self.note(Level::Info, format!("source VM {} started for {purpose}: {how}", vm.reference.name));
            }
            driver.wait_guest_info(&vm.reference, limit).await?;
            driver.run_in_guest(&vm.reference, &login, program, &arguments, limit).await
        };
        let ran = run.await;
        // Whatever came of it, the source is left as it was.
        if !was_on {
            let how = driver.set_power(&vm.reference, false).await?;
            self.note(Level::Info, format!("source VM {}: {how}", vm.reference.name));
            self.seen_as_before(vm).await?;
        }
        match ran {
            Ok(0) => Ok(Ok(())),
            Ok(code) => Ok(Err(format!("its guest ended the command with exit code {code}"))),
            // A guest that can't be written into is no fault of the migration's.
            Err(error) if error.is_answer() => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until MTV's inventory shows the VM as it was made ready.
    async fn seen_as_before(&self, vm: &PreparedVm) -> Result<(), Failure> {
        let (parts, open) = (&self.context.parts, &self.prepared.open);
        let limit = parts.settings.timeouts.inventory;
        let complete = |seen: &serde_json::Value| open.adapter.complete(seen, &vm.before);
        parts.inventory.wait_vm(&open.provider.path, &vm.reference.id, limit, complete).await?;
        Ok(())
    }

    /// The migrated VMs that a step is about, with their names; those of which the migration left none are told.
    pub(super) async fn arrived(&mut self, named: Option<&VmName>) -> Result<Vec<(PreparedVm, String)>, Failure> {
        self.migrated().await?;
        let Some(migrated) = &self.told.migrated else { return Ok(Vec::new()) };
        if !migrated.has_targets {
            self.note(Level::Info, "nothing to look into: the migration ended before a VM was created".to_owned());
            return Ok(Vec::new());
        }
        let all = self.named(named)?.into_iter();
        Ok(all.map(|vm| (vm.clone(), target_name(migrated, vm))).collect())
    }

    /// Reads the markers back. Where the platform can't write any, the step's command judges; what it can and did not
    /// is not judged.
    pub(super) async fn read_markers(&mut self, read: &ReadMarker) -> Result<(), Failure> {
        if !self.looks() {
            return Ok(());
        }
        let arrived = self.arrived(read.vm.as_ref()).await?;
        let outcomes = arrived.iter().map(|(vm, name)| self.read_marker(read, vm, name));
        let outcomes = futures::future::try_join_all(outcomes).await?;
        let mut findings = Vec::new();
        for ((vm, name), outcome) in arrived.iter().zip(outcomes) {
            if let Outcome::NotJudged { because } = &outcome {
                self.note(Level::Warning, format!("the marker of {name} is not judged: {because}"));
            }
            let finding = Finding { check: MARKER.to_owned(), vm: vm.before.name.clone(), subject: None, outcome };
            let (cell, attempt) = (self.cell.id.clone(), self.attempt);
            self.context.parts.events.emit(EventKind::CheckFinished { cell, attempt, finding: finding.clone() });
            findings.push(finding);
        }
        judged(&findings, Vec::new(), &self.cell.scenario.essential)
    }

    async fn read_marker(&self, read: &ReadMarker, vm: &PreparedVm, name: &str) -> Result<Outcome, Failure> {
        let own = read.windows.as_ref().filter(|_| vm.before.os == GuestOs::Windows).or(read.command.as_ref());
        Ok(match (self.told.markers.get(&vm.reference.id), own) {
            (Some(Ok(marker)), _) => marker.judge(self.inside(vm, name, &marker.reading(), self.boots()).await?),
            (Some(Err(why)), _) => Outcome::NotJudged { because: format!("no marker was written: {why}") },
            (None, Some(command)) => {
                judge_own(command, read.output.as_ref(), self.inside(vm, name, command, self.boots()).await?)
            }
            (None, None) => {
                Outcome::NotJudged { because: "no marker was written, and the step has no `command`".to_owned() }
            }
        })
    }

    pub(super) async fn inside(
        &self,
        vm: &PreparedVm,
        name: &str,
        command: &str,
        may_start: bool,
    ) -> Result<Ran, Failure> {
        let ran = inside::run(self.context, self.cell, &self.prepared, vm, (name, command), may_start).await;
        ran.map_err(|why| Failure::environment(Problem::new(format!("the guest of {name} could not be asked: {why}"))))
    }

    /// Runs the step's command in each guest.
    pub(super) async fn run(&mut self, run: &Run) -> Result<(), Failure> {
        for (vm, name) in self.arrived(run.vm.as_ref()).await? {
            match judge_own(&run.command, run.output.as_ref(), self.inside(&vm, &name, &run.command, true).await?) {
                Outcome::Passed { actual } => self.note(Level::Info, format!("{name}: {actual}")),
                Outcome::Failed { expected, actual } => {
                    let message = format!("expected in {name} that {expected}, found {}", shortened(&actual));
                    return Err(Failure::product(Problem::new(message)));
                }
                Outcome::NotJudged { because } => {
                    let message = format!("`{}` could not be run in {name}: {because}", run.command);
                    return Err(Failure::environment(Problem::new(message)));
                }
            }
        }
        Ok(())
    }

    /// Shuts running VMs down gently: a guest that does not go down has failed.
    pub(super) async fn shut_down(&mut self, named: Option<&VmName>, limit: Duration) -> Result<(), Failure> {
        for (_, name) in self.arrived(named).await? {
            let (cluster, namespace) = (&self.prepared.destination.cluster, &self.prepared.target_namespace);
            let api: kube::Api<VirtualMachine> = kube::Api::namespaced(cluster.client(), namespace);
            let thing = format!("VirtualMachine {namespace}/{name}");
            let found = api.get(&name).await.map_err(|error| apply::ApplyError::request("read", &thing, &error))?;
            let status = found.status.as_ref().map_or("", |status| status.printable_status.as_str());
            if status == "Stopped" {
                self.note(Level::Info, format!("{name} is off already"));
                continue;
            }
            boot::shut_down(&self.prepared, &name, limit).await.map_err(|why| {
                let problem = Problem::new(format!("{name} does not shut down: {why}"));
                match why {
                    StillOn::Slow(_) => Failure::product(problem),
                    StillOn::Unasked(_) => Failure::environment(problem),
                }
            })?;
        }
        Ok(())
    }
}
