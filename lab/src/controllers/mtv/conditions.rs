//! Making conditions, and writing status as a controller does: through `/status`, and only on change.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;

use crate::api::condition::Condition;
use crate::controllers::glance::METADATA;

/// A condition that holds now.
pub fn condition(type_: &str, category: &str, reason: &str, message: impl Into<String>) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        category: Some(category.to_owned()),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: Some(message.into()),
        last_transition_time: Some(now()),
        ..Condition::default()
    }
}

/// Likewise, surviving the next reconcile.
pub fn durable(type_: &str, message: &str) -> Condition {
    Condition { durable: Some(true), ..condition(type_, "Advisory", "", message) }
}

/// RFC 3339, whole seconds, as the API server writes times.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// Keeps the transition time of conditions that did not change.
pub fn settle(mut new: Vec<Condition>, old: &[Condition]) -> Vec<Condition> {
    for condition in &mut new {
        let same = old.iter().find(|o| {
            o.type_ == condition.type_
                && Condition { last_transition_time: condition.last_transition_time.clone(), ..(*o).clone() }
                    == *condition
        });
        if let Some(same) = same {
            condition.last_transition_time.clone_from(&same.last_transition_time);
        }
    }
    new
}

const JSON_PATCH: &str = "application/json-patch+json";

/// Real time between two tries at a status that a busy server refused, and how often.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 15;

/// Whether another try may bring it: the server is busy or away, not of another mind.
fn passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(refusal) => matches!(refusal.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// How often something is asked again, as a controller's queue brings back what failed.
pub(super) struct Patience(u32);

impl Default for Patience {
    fn default() -> Self {
        Self(TRIES)
    }
}

impl Patience {
    /// Whether to ask again, after a while.
    pub async fn again(&mut self, error: &kube::Error) -> bool {
        if self.0 == 0 || !passing(error) {
            return false;
        }
        self.0 -= 1;
        tokio::time::sleep(AGAIN).await;
        true
    }
}

/// Replaces the status of `object`. What a busy server refuses is written again: the last status of a Plan has nobody else
/// who would. What is refused for good is left to the caller's next pass.
///
/// The status goes as it is written, and of the answer nothing but the metadata is asked for: MTV writes one every few
/// seconds for each VM that it moves.
pub async fn write_status<K, S>(client: &Client, object: &K, status: &S) -> bool
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    S: Serialize,
{
    let name = object.name_any();
    let url = format!("{}/{name}/status", K::url_path(&(), object.namespace().as_deref()));
    let mut patience = Patience::default();
    loop {
        let error = match request(&url, status) {
            Ok(request) => match client.request_text(request).await {
                Ok(_) => return true,
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !patience.again(&error).await {
            tracing::warn!(kind = %K::kind(&()), name, %error, "a status was not written");
            return false;
        }
    }
}

fn request<S: Serialize>(url: &str, status: &S) -> Result<http::Request<Vec<u8>>, kube::Error> {
    let status = serde_json::to_string(status).map_err(kube::Error::SerdeError)?;
    let body = format!(r#"[{{"op":"add","path":"/status","value":{status}}}]"#).into_bytes();
    let request = http::Request::patch(url).header(CONTENT_TYPE, JSON_PATCH).header(ACCEPT, METADATA);
    request.body(body).map_err(kube::Error::HttpError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_condition_keeps_its_transition_time() {
        let mut old = condition("Ready", "Required", "", "ready");
        old.last_transition_time = Some("2020-01-01T00:00:00Z".to_owned());
        let same = settle(vec![condition("Ready", "Required", "", "ready")], &[old.clone()]);
        assert_eq!(same, [old.clone()]);
        let changed = settle(vec![condition("Ready", "Required", "", "other")], &[old.clone()]);
        assert_ne!(changed[0].last_transition_time, old.last_transition_time);
    }
}
