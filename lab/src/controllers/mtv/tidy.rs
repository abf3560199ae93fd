//! What MTV clears away on the source while the disks are copied: of OpenStack the snapshots of volumes, and the volumes
//! made of them, which only the images needed (`cleanup`, `pkg/controller/plan/adapter/openstack/client.go`).
//!
//! It is a goroutine that nobody begins anew: with the controller's pod it is gone, and what it had not removed stays.

use std::time::Duration;

use super::execute::Walk;

/// Simulated time until the volumes are gone, which comes first. Some seconds on a cloud where a copy takes minutes: here
/// it ends in mid-copy, too.
const LASTS: Duration = Duration::from_secs(240);

/// Notes what is to go, begins, and does not wait.
pub(super) async fn begin(walk: &Walk<'_>, keep_snapshots: bool) {
    let (mtv, client, vm) = (walk.run.mtv.clone(), walk.run.client.clone(), walk.vm.clone());
    let (mut up, stop) = (mtv.up.subscribe(), mtv.stop.clone());
    let left = |error: String| tracing::warn!(vm = vm.name, error, "the lab's MTV left something on the source");
    let made = match client.needed_on_the_way(&vm, keep_snapshots).await {
        Ok(made) if made.is_empty() => return,
        Ok(made) => made,
        Err(error) => return left(error),
    };
    let work = async move {
        mtv.clock.sleep(LASTS).await;
        if let Err(error) = client.tidy_copy(made).await {
            tracing::warn!(vm = vm.name, error, "the lab's MTV left something on the source");
        }
    };
    walk.run.mtv.afterwards.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            // Its sender outlives whoever listens.
            _ = up.wait_for(|up| !*up) => {}
            () = work => {}
        }
    });
}
