//! The lab's MTV as a client of oVirt: what its collector reads and its migrations ask for.
//!
//! Ordinary REST by URL and Secret, in the order of the real collector, so that it works as well
//! against a real engine. Knows nothing of the lab's own platforms.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::transport::{Protocol, told};
use super::records::{self, Answers, items, text};
use crate::clock::Clock;
use crate::controllers::mtv::Mtv;
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::Inventory;

/// Simulated time between two looks at the engine's events.
const POLL: Duration = Duration::from_secs(10);
/// Real: not even a fast clock makes it ask more often.
const SHORTEST_POLL: Duration = Duration::from_millis(40);
/// The description of MTV's own snapshots.
const SNAPSHOT: &str = "Forklift Operator warm migration precopy";
/// What the collector inlines into VMs.
const FOLLOW: &str = "disk_attachments,host_devices,snapshots,watchdogs,cdroms,nics";
/// The collector's reads, in its order.
const READS: &[(&str, Option<&str>)] = &[
    ("datacenters", None),
    ("storagedomains", None),
    ("vnicprofiles", None),
    ("diskprofiles", None),
    ("networks", Some("vnic_profiles")),
    ("disks", None),
    ("clusters", None),
    ("options/ServerCPUList", None),
    ("hosts", Some("network_attachments,nics")),
    ("vms", Some(FOLLOW)),
];

struct OvirtClient {
    http: reqwest::Client,
    /// `https://engine/ovirt-engine`
    base: String,
    token: String,
    clock: Clock,
    /// The newest event that was seen.
    newest: AtomicU64,
    revision: AtomicU64,
}

/// Logs in and reads what the engine is.
pub(super) async fn connect(mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
    let http = mtv.transports.of(login, Protocol::Rest)?;
    let base = login.url.trim_end_matches('/').trim_end_matches("/api").to_owned();
    let form = [
        ("grant_type", "password"),
        ("scope", "ovirt-app-api"),
        ("username", login.secret("user")),
        ("password", login.secret("password")),
    ];
    let request = http.post(format!("{base}/sso/oauth/token")).header("Accept", "application/json").form(&form);
    let answer = request.send().await.map_err(|e| ConnectError::Failed(told(&Method::POST, &e)))?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    let token = text(&body, "access_token");
    if status != 200 || token.is_empty() {
        let cause = format!("the engine's single sign-on answered {status}: {}", text(&body, "error"));
        return Err(if matches!(status, 400 | 401) { ConnectError::Auth(cause) } else { ConnectError::Failed(cause) });
    }
    let (newest, revision) = (AtomicU64::new(0), AtomicU64::new(0));
    let client = OvirtClient { http, base, token, clock: mtv.clock, newest, revision };
    client.get("", &[]).await.map_err(ConnectError::Failed)?;
    Ok(Arc::new(client))
}

impl OvirtClient {
    fn send<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        query: &'a [(&'a str, &'a str)],
        body: Option<Value>,
    ) -> BoxFuture<'a, Result<(u16, Value), String>> {
        async move {
            let url = format!("{}/api/{path}", self.base);
            let mut request = self
                .http
                .request(method.clone(), url.trim_end_matches('/'))
                .query(query)
                .header("Accept", "application/json")
                .header("Version", "4")
                .bearer_auth(&self.token);
            if let Some(body) = body {
                request = request.json(&body);
            }
            let answer = request.send().await.map_err(|e| told(&method, &e))?;
            let status = answer.status().as_u16();
            Ok((status, answer.json().await.unwrap_or_default()))
        }
        .boxed()
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        match self.send(Method::GET, path, query, None).await? {
            (200, value) => Ok(value),
            (status, value) => Err(format!("the engine answered {status} for {path}: {}", text(&value, "detail"))),
        }
    }

    async fn events(&self, query: &[(&str, &str)]) -> Result<Vec<Value>, String> {
        Ok(items(&self.get("events", query).await?, "event").to_vec())
    }

    async fn status(&self, vm_id: &str) -> Result<String, String> {
        Ok(text(&self.get(&format!("vms/{vm_id}"), &[]).await?, "status"))
    }

    async fn pause(&self) {
        tokio::time::sleep(self.clock.real(POLL).max(SHORTEST_POLL)).await;
    }
}

#[async_trait]
impl PlatformClient for OvirtClient {
    async fn collect(&self) -> Result<Inventory, String> {
        // Noted first: what changes while everything is read is read once more.
        if self.newest.load(Ordering::Relaxed) == 0 {
            let newest = self.events(&[("max", "1")]).await?;
            let newest = newest.first().and_then(|e| text(e, "id").parse().ok()).unwrap_or_default();
            self.newest.store(newest, Ordering::Relaxed);
        }
        let mut answers = Answers::from([("", self.get("", &[]).await?)]);
        for (path, follow) in READS {
            let query: Vec<(&str, &str)> = follow.iter().map(|f| ("follow", *f)).collect();
            answers.insert(path, self.get(path, &query).await?);
        }
        let revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(records::inventory(&answers, revision))
    }

    /// The engine pushes nothing: its events are polled, and only those that the real collector
    /// listens to count.
    async fn changed(&self) -> Result<bool, String> {
        const UNHEARD: [&str; 4] = ["33", "37", "45", "73"];
        self.pause().await;
        let from = self.newest.load(Ordering::Relaxed).to_string();
        let events = self.events(&[("from", &from)]).await?;
        if let Some(newest) = events.first().and_then(|e| text(e, "id").parse().ok()) {
            self.newest.store(newest, Ordering::Relaxed);
        }
        Ok(events.iter().any(|e| !UNHEARD.contains(&text(e, "code").as_str())))
    }

    /// Off is asked of the guest and waited for.
    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String> {
        let (action, wanted) = if on { ("start", "up") } else { ("shutdown", "down") };
        if self.status(vm_id).await? == wanted {
            return Ok(());
        }
        let path = format!("vms/{vm_id}/{action}");
        let (status, answer) = self.send(Method::POST, &path, &[], Some(json!({}))).await?;
        if !(200..300).contains(&status) {
            return Err(format!("the engine refused to {action} {vm_id}: {}", text(&answer, "fault/detail")));
        }
        while self.status(vm_id).await? != wanted {
            self.pause().await;
        }
        Ok(())
    }

    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        match self.status(vm_id).await?.as_str() {
            "up" | "powering_up" => Ok(true),
            "down" => Ok(false),
            other => Err(format!("VM {vm_id} is {other}")),
        }
    }

    /// Ready when the engine's event log says so.
    async fn create_snapshot(&self, vm_id: &str, _: &str) -> Result<String, String> {
        let correlation = uuid::Uuid::new_v4().simple().to_string();
        let (path, query) = (format!("vms/{vm_id}/snapshots"), [("correlation_id", correlation.as_str())]);
        let body = json!({"description": SNAPSHOT, "persist_memorystate": "false"});
        let id = loop {
            match self.send(Method::POST, &path, &query, Some(body.clone())).await? {
                (200..300, made) => break text(&made, "id"),
                // Another operation on the VM is going on.
                (409, _) => self.pause().await,
                (status, answer) => return Err(format!("the engine answered {status}: {}", text(&answer, "detail"))),
            }
        };
        let search = format!("correlation_id={correlation}");
        loop {
            let events = self.events(&[("search", &search)]).await?;
            let has = |code: &str| events.iter().any(|e| text(e, "code") == code);
            if has("68") {
                return Ok(id);
            }
            if events.is_empty() || has("69") {
                return Err(format!("snapshot of VM {vm_id} failed"));
            }
            self.pause().await;
        }
    }

    async fn remove_snapshot(&self, vm_id: &str, snapshot_id: &str) -> Result<(), String> {
        let path = format!("vms/{vm_id}/snapshots/{snapshot_id}");
        let correlation = format!("{}_finalize", snapshot_id.get(..8).unwrap_or(snapshot_id));
        let query = [("correlation_id", correlation.as_str())];
        loop {
            match self.send(Method::DELETE, &path, &query, None).await? {
                (404, _) => return Ok(()),
                // Asked for, or locked by this very removal or by another operation.
                (200..300 | 409, _) => self.pause().await,
                (status, answer) => return Err(format!("the engine answered {status}: {}", text(&answer, "detail"))),
            }
        }
    }

    async fn logout(&self) {
        let form = [("scope", "ovirt-app-api"), ("token", self.token.as_str())];
        // Best effort: the engine ends idle sessions by itself.
        let _ = self.http.post(format!("{}/services/sso-logout", self.base)).form(&form).send().await;
    }
}
