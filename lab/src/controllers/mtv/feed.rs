//! One collector for each login, whatever the number of Providers that use it: they read the same
//! inventory, so it is read once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::platform::{Login, PlatformClient};
use super::{Mtv, sources};
use crate::inventory::Demand;
use crate::inventory::model::Inventory;

/// Shortest time between two readings; real, not simulated. A burst of changes is read once.
const COLLECT_PAUSE: Duration = Duration::from_millis(50);
/// Real pause after a question that was not answered.
const AGAIN: Duration = Duration::from_millis(200);

/// A running collector; it ends with the last Provider that holds it.
pub(super) struct Feed {
    type_: String,
    login: Login,
    pub demand: Arc<Demand>,
    /// `None` until the inventory was read once.
    content: watch::Receiver<Option<Arc<Inventory>>>,
    _task: AbortOnDropHandle<()>,
}

/// Every collector that runs.
#[derive(Default)]
pub(super) struct Feeds(Mutex<Vec<Weak<Feed>>>);

impl Feeds {
    /// The collector for this login; where there is none yet it begins with this client. The client
    /// comes back where it is not needed.
    pub fn of(
        &self,
        mtv: &Arc<Mtv>,
        type_: &str,
        login: Login,
        client: Arc<dyn PlatformClient>,
    ) -> (Arc<Feed>, Option<Arc<dyn PlatformClient>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|feed| feed.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade).find(|feed| feed.type_ == type_ && feed.login == login);
        if let Some(known) = known {
            return (known, Some(client));
        }
        let (seen, content) = watch::channel(None);
        let demand = Arc::new(Demand::default());
        let way_in = (mtv.clone(), type_.to_owned(), login.clone());
        let task = tokio::spawn(collect(client, way_in, demand.clone(), seen));
        let task = AbortOnDropHandle::new(task);
        let feed = Arc::new(Feed { type_: type_.to_owned(), login, demand, content, _task: task });
        all.push(Arc::downgrade(&feed));
        (feed, None)
    }
}

impl Feed {
    /// What was read, now and whenever it changes.
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Inventory>>> {
        let mut content = self.content.clone();
        content.mark_changed();
        content
    }
}

/// Reads the inventory for as long as it runs. One whose session has ended logs in anew, as MTV's collectors do.
async fn collect(
    mut client: Arc<dyn PlatformClient>,
    (mtv, type_, login): (Arc<Mtv>, String, Login),
    demand: Arc<Demand>,
    seen: watch::Sender<Option<Arc<Inventory>>>,
) {
    let mut pause = Duration::ZERO;
    loop {
        match client.collect().await {
            Ok(content) => drop(seen.send_replace(Some(Arc::new(content)))),
            Err(_) => {
                tokio::time::sleep(AGAIN).await;
                if let Some(source) = sources::of(&type_)
                    && let Ok(fresh) = source.connect(&mtv, &login).await
                {
                    client = fresh;
                }
                continue;
            }
        }
        loop {
            if !client.pushes() {
                demand.pace(&mut pause).await;
            }
            match client.changed().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => {
                    tokio::time::sleep(AGAIN).await;
                    break;
                }
            }
        }
        tokio::time::sleep(COLLECT_PAUSE).await;
    }
}
