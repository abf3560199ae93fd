//! A stand-in for platforms whose own protocol the lab does not speak (WinRM and SMB; AWS's signed
//! queries): an HTTPS endpoint with a login, a list of machines, and a power switch.
//!
//! It is honest about what MTV needs of such a platform: who logs in, what is there, and that a
//! machine which was switched off is off. It is not what Hyper-V or EC2 answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use serde_json::{Value, json};

use super::roster::{Machine, Roster};
use crate::api::world::Vm;
use crate::error::LabError;
use crate::pki::LabCa;
use crate::serve::{self, Endpoint};

/// What a catalogue is started with.
pub struct CatalogueOptions {
    pub listen: IpAddr,
    pub user: &'static str,
    pub password: &'static str,
    /// Told beside the machines: a share, a region.
    pub facts: Value,
}

struct Inner {
    roster: Arc<Roster>,
    /// By name.
    on: Mutex<BTreeMap<String, bool>>,
    authorization: String,
    facts: Value,
    requests: AtomicU64,
}

/// A running catalogue.
pub struct Catalogue {
    inner: Arc<Inner>,
    endpoint: Endpoint,
}

impl Catalogue {
    pub async fn start(
        part: &str,
        roster: Arc<Roster>,
        options: CatalogueOptions,
        ca: &LabCa,
    ) -> Result<Self, LabError> {
        let on = roster.machines().iter().map(|machine| (machine.name.clone(), machine.on)).collect();
        let pair = format!("{}:{}", options.user, options.password);
        let authorization = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let inner = Arc::new(Inner {
            roster,
            on: Mutex::new(on),
            authorization,
            facts: options.facts,
            requests: AtomicU64::new(0),
        });
        let router = axum::Router::new()
            .route("/catalogue", get(list))
            .route("/machines/{name}/power", post(power))
            .layer(middleware::from_fn_with_state(inner.clone(), authorised))
            .with_state(inner.clone());
        let listener = serve::bind(part, options.listen, 0).await?;
        let tls = ca.server_config(&[options.listen.to_string(), "localhost".to_owned()])?;
        Ok(Self { inner, endpoint: serve::https(part, listener, tls, router)? })
    }

    /// Adds machines.
    pub fn grow(&self, vms: &[Vm]) {
        let made = self.inner.roster.grow(vms);
        let mut on = self.inner.on.lock().unwrap_or_else(PoisonError::into_inner);
        on.extend(made.into_iter().map(|machine| (machine.name, machine.on)));
    }

    pub fn port(&self) -> u16 {
        self.endpoint.port()
    }

    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    pub async fn stop(&self) {
        self.endpoint.stop().await;
    }
}

async fn authorised(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    inner.requests.fetch_add(1, Ordering::Relaxed);
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if given == Some(inner.authorization.as_str()) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

async fn list(State(inner): State<Arc<Inner>>) -> Response {
    let on = inner.on.lock().map(|on| on.clone()).unwrap_or_default();
    let machines: Vec<Value> =
        inner.roster.machines().iter().map(|machine| shown(machine, on.get(&machine.name) == Some(&true))).collect();
    axum::Json(json!({"facts": inner.facts, "networks": inner.roster.networks, "machines": machines})).into_response()
}

fn shown(machine: &Machine, on: bool) -> Value {
    let nics: Vec<Value> = machine
        .nics
        .iter()
        .map(|nic| json!({"mac": nic.mac, "network": nic.network, "fixed": nic.fixed.map(|a| a.to_string())}))
        .collect();
    json!({
        "name": machine.name, "uuid": machine.uuid, "windows": machine.windows, "system": machine.pretty_name,
        "disks": machine.disks, "nics": nics, "efi": machine.efi, "cpus": machine.cpus,
        "memory_mib": machine.memory_mib, "on": on,
    })
}

async fn power(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    let Ok(mut on) = inner.on.lock() else { return StatusCode::INTERNAL_SERVER_ERROR };
    match on.get_mut(&name) {
        Some(state) => {
            *state = query.get("on").is_some_and(|wanted| wanted == "true");
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}
