//! The property collector's methods.

use std::sync::Arc;
use std::time::Duration;

use super::collector::{Collector, FilterSpec, retrieve, updates};
use super::dispatch::{Answer, Service, returnval, this};
use super::fault::{Fault, fault, invalid_argument, object_gone};
use super::session::Session;
use super::value::{Val, mo};
use super::xml::Node;

pub const METHODS: &[&str] = &[
    "RetrieveProperties",
    "RetrievePropertiesEx",
    "ContinueRetrievePropertiesEx",
    "CancelRetrievePropertiesEx",
    "Fetch",
    "CreatePropertyCollector",
    "DestroyPropertyCollector",
    "CreateFilter",
    "DestroyPropertyFilter",
    "CancelWaitForUpdates",
];

/// vCenter's own bound on objects in an update.
const UPDATE_LIMIT: usize = 100;

fn specs(method: &Node) -> Vec<FilterSpec> {
    method.all("specSet").map(FilterSpec::parse).collect()
}

fn collector<'a>(session: &'a mut Session, method: &Node) -> Result<&'a mut Collector, Fault> {
    let object = this(method);
    session.collectors.get_mut(&object.id).ok_or_else(|| object_gone(object))
}

/// One page; the rest is kept under a token.
fn page(collector: &mut Collector, mut contents: Vec<String>, limit: usize) -> Answer {
    if contents.is_empty() {
        return Answer::default();
    }
    let rest = if contents.len() > limit { contents.split_off(limit) } else { Vec::new() };
    let mut xml = String::new();
    if !rest.is_empty() {
        let token = uuid::Uuid::new_v4().to_string();
        xml += &format!("<token>{token}</token>");
        collector.pages.insert(token, rest);
    }
    contents.iter().for_each(|object| xml += &format!("<objects>{object}</objects>"));
    returnval(&xml)
}

fn page_size(method: &Node) -> usize {
    let asked = method.child("options").and_then(|options| options.number::<usize>("maxObjects"));
    asked.filter(|size| *size > 0).unwrap_or(usize::MAX)
}

impl Service {
    pub(super) fn collect(&self, key: &str, method: &Node) -> Result<Answer, Fault> {
        self.with_session(key, |session| match method.name.as_str() {
            "RetrieveProperties" => {
                let contents = self.scoped(session, |scope| retrieve(&specs(method), scope))?;
                let all = contents.iter().map(|object| format!("<returnval>{object}</returnval>")).collect();
                Ok(Answer { xml: all, session: None })
            }
            "RetrievePropertiesEx" => {
                let contents = self.scoped(session, |scope| retrieve(&specs(method), scope))?;
                Ok(page(collector(session, method)?, contents, page_size(method)))
            }
            "ContinueRetrievePropertiesEx" => {
                let collector = collector(session, method)?;
                let token = method.text("token").unwrap_or_default();
                let rest = collector.pages.remove(token).ok_or_else(|| invalid_argument("token"))?;
                Ok(page(collector, rest, UPDATE_LIMIT))
            }
            "CancelRetrievePropertiesEx" => {
                collector(session, method)?.pages.remove(method.text("token").unwrap_or_default());
                Ok(Answer::default())
            }
            "Fetch" => {
                let path = method.text("prop").unwrap_or_default();
                let value = self.scoped(session, |scope| scope.get(&this(method), path))?;
                let mut xml = String::new();
                if let Some(value) = value {
                    value.typed_xml("returnval", &mut xml);
                }
                Ok(Answer { xml, session: None })
            }
            "CreatePropertyCollector" => {
                let id = session.fresh_id();
                session.collectors.insert(id.clone(), Collector::default());
                Ok(Val::Ref(mo("PropertyCollector", &id)).into())
            }
            "DestroyPropertyCollector" => {
                let object = this(method);
                let gone = session.collectors.remove(&object.id).ok_or_else(|| object_gone(object))?;
                gone.cancel.send_modify(|count| *count += 1);
                Ok(Answer::default())
            }
            "CreateFilter" => {
                let spec = method.child("spec").map(FilterSpec::parse).ok_or_else(|| invalid_argument("spec"))?;
                let id = session.fresh_id();
                let mut own = std::mem::take(collector(session, method)?);
                let added = self.scoped(session, |scope| own.add_filter(id.clone(), spec, scope));
                *collector(session, method)? = own;
                added?;
                Ok(Val::Ref(mo("PropertyFilter", &id)).into())
            }
            "DestroyPropertyFilter" => {
                let object = this(method);
                let removed = session.collectors.values_mut().any(|collector| collector.remove_filter(&object.id));
                if removed { Ok(Answer::default()) } else { Err(object_gone(object)) }
            }
            _ => {
                collector(session, method)?.cancel.send_modify(|count| *count += 1);
                Ok(Answer::default())
            }
        })
    }

    /// Answers as soon as something changed for this collector. Nothing is locked while it waits,
    /// so that other calls of the same session go on.
    pub(super) async fn wait_for_updates(self: &Arc<Self>, key: &str, method: &Node) -> Result<Answer, Fault> {
        let options = method.child("options");
        let limit = options
            .and_then(|options| options.number::<usize>("maxObjectUpdates"))
            .filter(|limit| *limit > 0)
            .unwrap_or(UPDATE_LIMIT);
        let patience = match method.name.as_str() {
            "CheckForUpdates" => Some(0),
            "WaitForUpdates" => None,
            _ => options.and_then(|options| options.number::<u64>("maxWaitSeconds")),
        };
        let (mut cancelled, mut grown, mut ended) = self.with_session(key, |session| {
            let ended = session.ended.subscribe();
            let collector = collector(session, method)?;
            collector.resume(method.text("version").unwrap_or_default())?;
            Ok((collector.cancel.subscribe(), collector.grown.subscribe(), ended))
        })?;
        let canceled = || fault("RequestCanceled", "The request was canceled.");
        let deadline = async {
            match patience {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        loop {
            grown.mark_unchanged();
            let interest = self.with_session(key, |session| Ok(collector(session, method)?.interest()))?;
            // Before looking, so that nothing is missed between the look and the wait.
            let changes = self.world.subscribe(interest);
            if let Some(xml) = self.updates_now(key, method, limit)? {
                return Ok(returnval(&xml));
            }
            if patience == Some(0) {
                return Ok(Answer::default());
            }
            tokio::select! {
                () = changes.changed() => {}
                _ = grown.changed() => {}
                () = &mut deadline => return Ok(Answer::default()),
                _ = cancelled.changed() => return Err(canceled()),
                _ = ended.changed() => return Err(canceled()),
                () = self.stop.cancelled() => return Err(canceled()),
            }
        }
    }

    fn updates_now(&self, key: &str, method: &Node, limit: usize) -> Result<Option<String>, Fault> {
        self.with_session(key, |session| {
            let mut own = std::mem::take(collector(session, method)?);
            let found = self.scoped(session, |scope| updates(&mut own, scope, limit));
            *collector(session, method)? = own;
            found
        })
    }
}
