//! `patch`: an object of MTV's is changed, and given back as it was from the ledger.

use serde_json::Value;

use super::super::Failure;
use super::actor::Actor;
use crate::api::forklift::{ForkliftController, Migration, Plan};
use crate::cleanup::borrowed::borrow;
use crate::config::steps::{Op, Patch, Patched};
use crate::event::Level;

/// The one that MTV is configured by.
const CONTROLLER: &str = "forklift-controller";

impl Actor<'_> {
    pub(super) async fn patch(&self, patch: &Patch) -> Result<(), Failure> {
        let (tracked, settings) = (self.tracked(), &self.context.parts.settings);
        let limit = settings.timeouts.prepare;
        for operation in &patch.operations {
            // An absent value: the field is taken away.
            let value = match operation.op {
                Op::Remove => Value::Null,
                Op::Add | Op::Replace => operation.value.clone().unwrap_or_default(),
            };
            let path = operation.path.as_str();
            match patch.what {
                Patched::Plan => {
                    let name = &self.prepared.plan;
                    borrow::<Plan>(&tracked, Some(self.namespace()), name, path, value, limit).await?
                }
                Patched::Migration => {
                    let name = self.migration();
                    borrow::<Migration>(&tracked, Some(self.namespace()), &name, path, value, limit).await?
                }
                Patched::Controller => {
                    let namespace = Some(settings.mtv_namespace.as_str());
                    borrow::<ForkliftController>(&tracked, namespace, CONTROLLER, path, value, limit).await?
                }
            };
            self.context.note(Some(&self.cell.id), Level::Info, format!("{}: {operation}", patch.what.kind()));
        }
        Ok(())
    }
}
