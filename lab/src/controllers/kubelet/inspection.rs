//! The deep-inspection pod: ready after a while, tells that it found nothing wrong, goes when told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::Notify;

use super::{Ended, KubeletOptions, Ports};

/// Simulated time of a look at all disks.
const LOOKS: Duration = Duration::from_secs(60);
const PORT: u16 = 8080;

pub async fn run(options: &KubeletOptions, ports: &Ports) -> Ended {
    options.clock.sleep(LOOKS).await;
    let gone = Arc::new(Notify::new());
    let shutdown = gone.clone();
    let results = || async { axum::Json(json!({"passed": true, "all_concerns": []})).into_response() };
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
