//! The deep-inspection pod: ready after a while, tells what it found, goes when told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Ended, KubeletOptions, Ports};
use crate::ports::GuestProfile;

/// Simulated time of a look at all disks.
const LOOKS: Duration = Duration::from_secs(60);
const PORT: u16 = 8080;

/// What is on the disks of a guest, in the words of the pod (`fetchInspectionResults`,
/// `pkg/controller/conversion/pipeline.go`). One that the world fails at MTV's inspection has a concern.
pub fn seen(guest: &GuestProfile) -> Value {
    let version = guest.pretty_name.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.unwrap_or_default().split('.').next().unwrap_or_default();
    let filesystem = |device: &str, type_: &str| json!({"device": device, "type": type_});
    let (distro, filesystems) = match guest.windows {
        true => ("windows", [filesystem("/dev/sda1", "ntfs"), filesystem("/dev/sda2", "ntfs")]),
        false => ("rhel", [filesystem("/dev/sda1", "xfs"), filesystem("/dev/rhel/root", "xfs")]),
    };
    let fails = guest.fails.as_ref().filter(|fails| fails.is_in("PreflightInspection"));
    let concern = |error: &str| json!({"id": "guest.inspection", "category": "Critical", "label": "Guest inspection", "message": error});
    let concerns: Vec<Value> = fails.map(|fails| concern(&fails.error)).into_iter().collect();
    json!({
        "passed": concerns.is_empty(), "all_concerns": concerns, "filesystems": filesystems,
        "os_info": {"name": guest.pretty_name, "distro": distro, "major_version": version, "architecture": "x86_64"},
    })
}

pub(super) async fn run(options: &KubeletOptions, vm: &str, ports: &Ports) -> Ended {
    // A VM that nobody knows has nothing wrong.
    let found =
        options.guests.by_id(vm).map_or_else(|| json!({"passed": true, "all_concerns": []}), |guest| seen(&guest));
    options.clock.sleep(LOOKS).await;
    let gone = Arc::new(Notify::new());
    let shutdown = gone.clone();
    let results = move || {
        let found = found.clone();
        async move { axum::Json(found).into_response() }
    };
    let answers = Router::new().route("/ready", get(|| async { "ok" })).route("/results", get(results)).route(
        "/shutdown",
        post(move || async move {
            shutdown.notify_one();
            "bye"
        }),
    );
    ports.open(PORT, answers);
    gone.notified().await;
    Ended::Well
}
