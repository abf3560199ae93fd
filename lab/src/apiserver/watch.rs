//! Watches: the state, what was missed, then every change as it happens, as JSON lines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::State;
use super::error::{ApiError, typed_response};
use super::render::{PARTIAL, Renderer};
use super::request::{Query, Target};
use super::resources::ResourceDef;
use super::selectors::Selector;
use super::store::{Change, ChangeKind, Past};
use super::written::{Written, append, append_partial};
use super::{options, paging};

/// A watch without `timeoutSeconds` lasts this long.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2400);
/// Time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

struct Watch {
    lines: VecDeque<Bytes>,
    live: broadcast::Receiver<Arc<Change>>,
    namespace: Option<String>,
    selector: Selector,
    renderer: Renderer,
    /// The newest version that this watch has seen.
    version: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    stop: CancellationToken,
    ended: bool,
}

/// A line of the watch: what happened to what, whose JSON comes in parts.
fn written(kind: &str, object: &[&[u8]]) -> Bytes {
    let length: usize = object.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 40);
    bytes.extend_from_slice(b"{\"type\":\"");
    bytes.extend_from_slice(kind.as_bytes());
    bytes.extend_from_slice(b"\",\"object\":");
    for part in object {
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(b"}\n");
    bytes.into()
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut json = Vec::new();
    append(&mut json, object);
    written(kind, &[&json])
}

impl Watch {
    fn bookmark(&mut self, initial_end: bool) {
        let object = self.renderer.bookmark(self.version, initial_end);
        self.lines.push_back(line("BOOKMARK", &object));
    }

    fn error(&mut self, error: &ApiError) {
        self.lines.push_back(line("ERROR", &error.body()));
        self.ended = true;
    }

    /// What a change looks like through the selector: coming into view is ADDED, going out DELETED.
    fn push(&mut self, change: &Change) {
        let Past { version, kind, object, previous, .. } = &change.what;
        if *version <= self.version {
            return;
        }
        self.version = *version;
        if let Some(namespace) = &self.namespace
            && object["metadata"]["namespace"].as_str() != Some(namespace)
        {
            return;
        }
        let before = previous.as_ref().is_some_and(|p| self.selector.matches(p));
        let after = *kind != ChangeKind::Deleted && self.selector.matches(object);
        let kind = match (before, after) {
            (_, true) => {
                if before {
                    "MODIFIED"
                } else {
                    "ADDED"
                }
            }
            (true, false) => "DELETED",
            (false, false) => return,
        };
        // Every watch that sends it as it is sends the same bytes, or a part of them.
        if self.renderer.is_partial() {
            let text = change.json(!after, self.renderer.bare);
            let metadata = text.bytes.get(text.metadata).unwrap_or_default();
            self.lines.push_back(written(kind, &[PARTIAL.as_bytes(), metadata, b"}"]));
            return;
        }
        if self.renderer.is_as_stored(object) {
            self.lines.push_back(written(kind, &[&change.json(!after, self.renderer.bare).bytes]));
            return;
        }
        let object = match (before, after) {
            (_, true) => self.renderer.event(object),
            (_, false) => {
                // The last matching state, with the version of the change that ended it.
                let mut last = previous.as_deref().unwrap_or(object).clone();
                last["metadata"]["resourceVersion"] = json!(version.to_string());
                self.renderer.event(&last)
            }
        };
        self.lines.push_back(line(kind, &object));
    }

    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Self)> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some((Ok(line), self));
            }
            if self.ended {
                return None;
            }
            let (deadline, next_bookmark, stop) = (self.deadline, self.next_bookmark, self.stop.clone());
            tokio::select! {
                biased;
                change = self.live.recv() => match change {
                    Ok(change) => self.push(&change),
                    Err(RecvError::Lagged(_)) => {
                        let message = format!("too old resource version: {}", self.version);
                        self.error(&ApiError::expired(message));
                    }
                    Err(RecvError::Closed) => return None,
                },
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(deadline) => {
                    self.ended = true;
                    if self.bookmarks {
                        self.bookmark(false);
                    }
                }
                () = tokio::time::sleep_until(next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    self.bookmark(false);
                }
            }
        }
    }
}

pub(super) fn watch(
    state: &State,
    def: &Arc<ResourceDef>,
    target: &Target,
    query: &Query,
    mut renderer: Renderer,
) -> Result<Response, ApiError> {
    options::check_list(query, true)?;
    renderer.in_watch = true;
    let mut selector = Selector::parse(def, query.get("labelSelector"), query.get("fieldSelector"))?;
    if let Some(name) = &target.name {
        selector.require_name(name);
    }
    let asked = paging::version(query, true)?.filter(|v| *v > 0);
    let initial_events = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let bookmarks = query.flag("allowWatchBookmarks");
    let since = match initial_events {
        Some(true) => None,
        Some(false) => Some(asked.unwrap_or_else(|| state.store.version())),
        None => asked,
    };
    let timeout = query.number("timeoutSeconds")?.filter(|s| *s > 0).map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let now = Instant::now();
    let subscribed = state.store.subscribe(&def.storage, target.namespace.as_deref(), since);
    let subscription = match subscribed {
        Ok(subscription) => subscription,
        Err(oldest) => {
            let message = format!("too old resource version: {} ({oldest})", since.unwrap_or_default());
            let body = line("ERROR", &ApiError::expired(message).body());
            return Ok(typed_response(200, "application/json", body));
        }
    };
    let mut watch = Watch {
        lines: VecDeque::new(),
        live: subscription.live,
        namespace: target.namespace.clone(),
        selector,
        renderer,
        version: since.unwrap_or(subscription.version),
        bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + timeout,
        stop: state.store.stop.clone(),
        ended: false,
    };
    for object in &subscription.initial {
        if watch.selector.matches(object) {
            if watch.renderer.is_as_stored(object) {
                watch.lines.push_back(written("ADDED", &[&Written::new(object, watch.renderer.bare).bytes()]));
                continue;
            }
            if watch.renderer.is_partial() {
                let mut json = Vec::new();
                append_partial(&mut json, object, watch.renderer.bare);
                watch.lines.push_back(written("ADDED", &[&json]));
                continue;
            }
            let event = watch.renderer.event(object);
            watch.lines.push_back(line("ADDED", &event));
        }
    }
    for change in &subscription.missed {
        watch.push(change);
    }
    if initial_events == Some(true) && bookmarks {
        watch.bookmark(true);
    }
    let body = Body::from_stream(futures::stream::unfold(watch, Watch::next));
    Ok(typed_response(200, "application/json", body))
}
