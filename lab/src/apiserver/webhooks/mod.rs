//! Admission by webhook: before a write is stored, the servers that MutatingWebhookConfigurations and
//! ValidatingWebhookConfigurations name are asked, as the real API server asks them.
//!
//! A write with webhooks is done twice. First as a draft: everything is worked out and nothing is
//! stored. What the webhooks make of the draft goes into the second try, which stores it, unless the
//! object was changed meanwhile; then it starts over. A write without webhooks pays two look-ups.
//! Expressions (`matchConditions`) are not evaluated: such a webhook is asked every time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::managers;
use super::resource_handlers::{self, Call};
use super::store::metadata;

mod ask;
mod matching;

pub(super) use ask::Clients;
use ask::Question;
use matching::{Hook, Phase};

/// How often a write starts over because somebody else was faster.
const ATTEMPTS: usize = 5;

/// How far the webhooks are with a write.
#[derive(Debug, Default)]
pub(super) enum Admission {
    /// Nobody is asked.
    #[default]
    Off,
    /// Nothing is stored; what would have been is put here.
    Draft(Mutex<Option<Draft>>),
    Decided(Decided),
}

/// Nobody is asked.
pub(super) static OFF: Admission = Admission::Off;

/// What a write would do.
#[derive(Debug)]
pub(super) struct Draft {
    pub old: Option<Value>,
    pub new: Value,
}

/// What the webhooks made of a draft.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// JSON patches, in order.
    pub patches: Vec<Value>,
    /// The name that the draft was given.
    pub name: String,
    /// The version that the draft started from; empty for a new object.
    pub version: String,
    /// Set when the object has another version by now.
    pub moved: AtomicBool,
}

impl Admission {
    pub fn is_draft(&self) -> bool {
        matches!(self, Self::Draft(_))
    }
    pub fn record(&self, old: Option<&Value>, new: &Value) {
        if let Self::Draft(draft) = self {
            *draft.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Draft { old: old.map(managers::whole), new: managers::whole(new) });
        }
    }
    pub fn decided(&self) -> Option<&Decided> {
        if let Self::Decided(decided) = self { Some(decided) } else { None }
    }
}

impl Decided {
    /// Whether the draft started from this object; remembers it when it did not.
    pub fn still_fits(&self, current: &Value) -> bool {
        let fits = metadata(current, "resourceVersion") == self.version;
        self.moved.fetch_or(!fits, Ordering::Relaxed);
        fits
    }
    /// The object with the webhooks' changes.
    pub fn apply(&self, object: &mut Value) -> Result<(), ApiError> {
        for patch in &self.patches {
            let failed = |e: &dyn std::fmt::Display| {
                ApiError::new(500, "InternalError", format!("Internal error occurred: {e}"))
            };
            let operations: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|e| failed(&e))?;
            json_patch::patch(object, &operations).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}

fn handler(method: &Method) -> fn(&State, &Call) -> Result<Response, ApiError> {
    match *method {
        Method::POST => resource_handlers::post,
        Method::PUT => resource_handlers::put,
        Method::PATCH => resource_handlers::patch,
        _ => resource_handlers::delete,
    }
}

/// POST, PUT, PATCH or DELETE of a resource, with everybody asked who wants to be.
pub(super) async fn write(state: &State, method: &Method, mut call: Call) -> Result<Response, ApiError> {
    let run = handler(method);
    let hooks = matching::hooks(state, &call, method);
    if hooks.is_empty() {
        return run(state, &call);
    }
    let mut warnings = Vec::new();
    if *method == Method::DELETE {
        delete(state, &call, &hooks, &mut warnings).await?;
        return Ok(warned(run(state, &call)?, &warnings));
    }
    for attempt in 1..=ATTEMPTS {
        warnings.clear();
        call.admission = Admission::Draft(Mutex::default());
        let answer = run(state, &call)?;
        let Admission::Draft(draft) = std::mem::take(&mut call.admission) else { return Ok(answer) };
        // Something that no webhook is asked about, such as a review.
        let Some(draft) = draft.into_inner().unwrap_or_else(PoisonError::into_inner) else { return Ok(answer) };
        call.admission = Admission::Decided(decide(state, &call, &hooks, draft, &mut warnings).await?);
        let answer = run(state, &call);
        let moved = call.admission.decided().is_some_and(|decided| decided.moved.load(Ordering::Relaxed));
        if !moved || attempt == ATTEMPTS {
            return Ok(warned(answer?, &warnings));
        }
    }
    Err(ApiError::no_such_resource())
}

/// Mutating webhooks one after the other, each with what the one before made of it; then the
/// validating ones.
async fn decide(
    state: &State,
    call: &Call,
    hooks: &[Hook],
    draft: Draft,
    warnings: &mut Vec<String>,
) -> Result<Decided, ApiError> {
    let Draft { old, new } = draft;
    let mut decided = Decided {
        name: metadata(&new, "name").to_owned(),
        version: old.as_ref().map(|old| metadata(old, "resourceVersion").to_owned()).unwrap_or_default(),
        ..Decided::default()
    };
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let mut question = Question { call, operation, object: new, old: old.unwrap_or_default() };
    for phase in [Phase::Mutating, Phase::Validating] {
        for hook in hooks.iter().filter(|hook| hook.phase == phase) {
            if !hook.wants(state, &question) {
                continue;
            }
            let Some(answer) = ask::ask(state, hook, &question, warnings).await? else { continue };
            let one = Decided { patches: vec![answer], ..Decided::default() };
            one.apply(&mut question.object)?;
            decided.patches.extend(one.patches);
        }
    }
    Ok(decided)
}

async fn delete(state: &State, call: &Call, hooks: &[Hook], warnings: &mut Vec<String>) -> Result<(), ApiError> {
    for object in resource_handlers::doomed(state, call)? {
        let question = Question { call, operation: "DELETE", object: Value::Null, old: managers::whole(&object) };
        for hook in hooks.iter().filter(|hook| hook.wants(state, &question)) {
            ask::ask(state, hook, &question, warnings).await?;
        }
    }
    Ok(())
}

fn warned(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", json!(warning))) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
