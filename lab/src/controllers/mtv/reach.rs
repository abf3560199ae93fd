//! What a walk asks of its source, also where nobody answers for a while.
//!
//! MTV logs in anew in every pass over a Plan (`init`, `pkg/controller/plan/migration.go`): where that fails the pass ends,
//! nothing goes on, and the next one tries again. What the source itself refuses fails the VM. From 2.12 on a source that
//! is lost for longer than the grace period fails the migration (`failExecutingMigrationOnBlocker`).

use std::time::Duration;

use super::execute::{Halt, Walk};
use super::platform::PlatformClient;
use super::provider;
use crate::defects::conduct::Conduct;

/// Simulated time between two passes.
const PASS: Duration = Duration::from_secs(3);
/// `controller_blocker_grace_period_minutes`, MTV's default.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// What is asked.
enum Ask<'a> {
    Power(bool),
    PowerState,
    Snapshot(&'a str),
    RemoveSnapshot(&'a str),
    PrepareCopy,
}

/// What is answered.
enum Answer {
    Done,
    On(bool),
    Made(String),
}

impl Walk<'_> {
    pub async fn power(&self, on: bool) -> Result<(), Halt> {
        self.ask(Ask::Power(on)).await.map(drop)
    }

    pub async fn power_state(&self) -> Result<bool, Halt> {
        Ok(matches!(self.ask(Ask::PowerState).await?, Answer::On(true)))
    }

    /// Its id.
    pub async fn create_snapshot(&self, name: &str) -> Result<String, Halt> {
        Ok(match self.ask(Ask::Snapshot(name)).await? {
            Answer::Made(id) => id,
            Answer::Done | Answer::On(_) => String::new(),
        })
    }

    pub async fn remove_snapshot(&self, id: &str) -> Result<(), Halt> {
        self.ask(Ask::RemoveSnapshot(id)).await.map(drop)
    }

    pub async fn prepare_copy(&self) -> Result<(), Halt> {
        self.ask(Ask::PrepareCopy).await.map(drop)
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Halt> {
        let refused = match self.put(self.run.client.as_ref(), &ask).await {
            Ok(answer) => return Ok(answer),
            Err(refused) if self.behaves(Conduct::GivesUpOnSource) => return Err(Halt::Failed(refused)),
            Err(refused) => refused,
        };
        let mtv = &self.run.mtv;
        let ends = mtv.version.at_least(12) && !self.behaves(Conduct::WaitsForever);
        let mut lost = Duration::ZERO;
        let fresh = loop {
            match provider::connect(mtv, &self.run.resolved.source).await {
                Ok(fresh) => break fresh,
                Err(bad) if lost >= GRACE && ends => {
                    let why = bad.message.unwrap_or_default();
                    return Err(Halt::Failed(format!("The migration has FAILED due to a validation blocker: {why}")));
                }
                Err(_) => {
                    tracing::debug!(vm = self.vm.name, refused, "the lab's MTV waits for its source");
                    self.rest(PASS).await;
                    lost += PASS;
                }
            }
        };
        let answer = self.put(fresh.as_ref(), &ask).await.map_err(Halt::Failed);
        fresh.logout().await;
        answer
    }

    async fn put(&self, client: &dyn PlatformClient, ask: &Ask<'_>) -> Result<Answer, String> {
        let id = &self.vm.id;
        match *ask {
            Ask::Power(on) => client.power(id, on).await.map(|()| Answer::Done),
            Ask::PowerState => client.power_state(id).await.map(Answer::On),
            Ask::Snapshot(name) => client.create_snapshot(id, name).await.map(Answer::Made),
            Ask::RemoveSnapshot(snapshot) => client.remove_snapshot(id, snapshot).await.map(|()| Answer::Done),
            Ask::PrepareCopy => client.prepare_copy(&self.vm).await.map(|()| Answer::Done),
        }
    }
}
