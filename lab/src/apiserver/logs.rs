//! `pods/NAME/log`: what stands in the pod's annotation; `follow` tells what is added until the pod has ended.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::State;
use super::error::{ApiError, bare_response, text_response, typed_response};
use super::request::Query;
use super::resources::ResourceDef;
use super::store::{Change, ChangeKind, ObjectKey};

/// A pod's log in the lab is this annotation.
pub(crate) const LOG_ANNOTATION: &str = "lab.mtv-matrix.io/log";

fn log_of(pod: &Value) -> &str {
    pod["metadata"]["annotations"][LOG_ANNOTATION].as_str().unwrap_or_default()
}

/// Whether a container prints no more: it has ended, or all of the pod has.
fn is_over(pod: &Value, container: &str) -> bool {
    let of = |field: &str| pod["status"][field].as_array().into_iter().flatten();
    let mut statuses = of("containerStatuses").chain(of("initContainerStatuses"));
    let ended = statuses.any(|status| status["name"] == container && status["state"]["terminated"].is_object());
    ended || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn tail(log: &str, lines: Option<u64>) -> &str {
    let Some(lines) = lines.and_then(|l| usize::try_from(l).ok()) else { return log };
    let all: Vec<&str> = log.split_inclusive('\n').collect();
    let skipped: usize = all[..all.len().saturating_sub(lines)].iter().map(|line| line.len()).sum();
    log.get(skipped..).unwrap_or_default()
}

/// A log that is being read.
struct Following {
    key: ObjectKey,
    container: String,
    /// What comes first.
    head: Option<Bytes>,
    told: usize,
    live: broadcast::Receiver<Arc<Change>>,
    over: bool,
    stop: CancellationToken,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(head) = self.head.take().filter(|head| !head.is_empty()) {
            return Some((Ok(head), self));
        }
        while !self.over {
            let change = tokio::select! {
                change = self.live.recv() => match change {
                    Ok(change) => change,
                    // What was missed is in the next change, too.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
                () = self.stop.cancelled() => return None,
            };
            let named = |field: &str| change.what.object["metadata"][field].as_str().unwrap_or_default();
            if named("name") != self.key.name || named("namespace") != self.key.namespace {
                continue;
            }
            self.over = change.what.kind == ChangeKind::Deleted || is_over(&change.what.object, &self.container);
            let log = log_of(&change.what.object);
            // One that is written anew begins anew.
            let more = log.get(self.told..).unwrap_or(log).to_owned();
            self.told = log.len();
            if !more.is_empty() {
                return Some((Ok(more.into()), self));
            }
        }
        None
    }
}

/// What a pod prints from now on.
pub(super) fn follow(state: &State, key: &ObjectKey, pod: &Value) -> Option<impl Stream<Item = Bytes> + use<>> {
    let storage = &key.storage;
    let subscription = state.store.subscribe(storage, Some(&key.namespace), Some(state.store.version())).ok()?;
    let following = Following {
        key: key.clone(),
        container: String::new(),
        head: None,
        told: log_of(pod).len(),
        live: subscription.live,
        over: is_over(pod, ""),
        stop: state.store.stop.clone(),
    };
    let bytes = |printed: Result<Bytes, Infallible>| std::future::ready(printed.ok());
    Some(futures::stream::unfold(following, Following::next).filter_map(bytes))
}

pub(super) fn read(
    state: &State,
    def: &ResourceDef,
    key: &ObjectKey,
    pod: &Value,
    query: &Query,
) -> Result<Response, ApiError> {
    let log = log_of(pod);
    let lines = query.number("tailLines")?;
    let container = query.get("container").unwrap_or_default();
    let follows = query.flag("follow") && !is_over(pod, container);
    if log.is_empty() && pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) && !follows {
        return Ok(bare_response(204));
    }
    if !follows {
        return Ok(text_response(200, tail(log, lines).to_owned()));
    }
    let subscribed = state.store.subscribe(&def.storage, Some(&key.namespace), Some(state.store.version()));
    let Ok(subscription) = subscribed else { return Ok(text_response(200, tail(log, lines).to_owned())) };
    // As it is now that changes are told: what came in between is in it.
    let now = state.store.get(key);
    let log = now.as_deref().map_or(log, log_of);
    let following = Following {
        key: key.clone(),
        container: container.to_owned(),
        head: Some(tail(log, lines).to_owned().into()),
        told: log.len(),
        live: subscription.live,
        over: now.as_deref().is_none_or(|pod| is_over(pod, container)),
        stop: state.store.stop.clone(),
    };
    let body = Body::from_stream(futures::stream::unfold(following, Following::next));
    Ok(typed_response(200, "text/plain", body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_has_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", Some(2)), "b\nc\n");
        assert_eq!(tail("a\nb", Some(1)), "b");
        assert_eq!((tail("a\n", Some(9)), tail("a\n", None), tail("a\n", Some(0))), ("a\n", "a\n", ""));
    }
}
