//! Who set which field: `metadata.managedFields`, for writers by PUT and PATCH and for appliers.
//!
//! A stored object has them as text: as a tree they take more than half of its memory, and of the time to copy it,
//! although hardly anybody looks at them. Only this file and those that write objects out (`written`) know that text.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::resources::{ResourceDef, StatusMode};
use super::schema::Schema;
use super::schema::fields::{self, Comparison, Fields};
use super::store::equal;
use super::write::{Part, now};
use super::written::{append, name};

/// Fields that the server sets and nobody owns.
const IDENTITY: [&str; 8] =
    ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    pub api_version: String,
    pub subresource: String,
    time: String,
    pub fields: Fields,
}

impl Entry {
    pub fn new(manager: &str, operation: &str, api_version: String, part: Part) -> Self {
        let subresource = match part {
            Part::Main => "",
            Part::Status => "status",
            Part::Finalize => "finalize",
            Part::Scale => "scale",
        };
        Self {
            manager: manager.to_owned(),
            operation: operation.to_owned(),
            api_version,
            subresource: subresource.to_owned(),
            time: now(),
            fields: Fields::new(),
        }
    }

    /// The same writer in the same way; appliers are the same in every version.
    pub fn is(&self, other: &Self) -> bool {
        (&self.manager, &self.operation, &self.subresource) == (&other.manager, &other.operation, &other.subresource)
            && (self.operation == "Apply" || self.api_version == other.api_version)
    }

    fn write(&self) -> Line {
        self.with(&fields::Tree::from(&self.fields).text())
    }

    fn with(&self, fields: &str) -> Line {
        Line::new([&self.manager, &self.operation, &self.api_version, &self.time, &self.subresource], fields)
    }

    /// How a conflict names its owner.
    pub fn describe(&self) -> String {
        let mut text = format!("\"{}\"", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if self.operation == "Update" {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// An entry as it is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
}

impl Told<'_> {
    fn text(&self) -> &str {
        self.fields.map_or("{}", RawValue::get)
    }

    fn tree(&self) -> Arc<fields::Tree> {
        fields::Tree::read(self.text())
    }

    fn entry(&self) -> Entry {
        Entry {
            manager: self.manager.to_string(),
            operation: self.operation.to_string(),
            api_version: self.api_version.to_string(),
            subresource: self.subresource.to_string(),
            time: self.time.to_string(),
            fields: self.tree().fields(),
        }
    }

    /// With these fields.
    fn line(&self, fields: &str) -> Line {
        Line::new([&self.manager, &self.operation, &self.api_version, &self.time, &self.subresource], fields)
    }
}

/// An entry as it will be stored, and what orders it among others.
struct Line {
    order: [String; 4],
    text: String,
}

impl Line {
    fn new([manager, operation, api_version, time, subresource]: [&str; 5], fields: &str) -> Self {
        let mut text = vec![b'{'];
        for (key, value) in
            [("manager", manager), ("operation", operation), ("apiVersion", api_version), ("time", time)]
        {
            name(&mut text, key);
            append(&mut text, value);
        }
        text.extend_from_slice(br#","fieldsType":"FieldsV1","fieldsV1":"#);
        text.extend_from_slice(fields.as_bytes());
        if !subresource.is_empty() {
            name(&mut text, "subresource");
            append(&mut text, subresource);
        }
        text.push(b'}');
        let order = [operation, time, manager, subresource].map(str::to_owned);
        // What was written as JSON is text.
        Self { order, text: String::from_utf8(text).unwrap_or_default() }
    }
}

/// What a text of managers tells. What is no entry is left out.
fn told(text: &str) -> Vec<Told<'_>> {
    let all = serde_json::from_str::<Vec<Told<'_>>>(text).or_else(|_| {
        // One that is none spoils the others.
        let each: Vec<&RawValue> = serde_json::from_str(text)?;
        Ok::<_, serde_json::Error>(each.iter().filter_map(|one| serde_json::from_str(one.get()).ok()).collect())
    });
    all.unwrap_or_default().into_iter().filter(|told| !told.operation.is_empty()).collect()
}

/// The managers of an object as text, whichever way it has them.
fn text_of(object: &Value) -> Option<Cow<'_, str>> {
    match object["metadata"].get("managedFields")? {
        Value::String(text) => Some(Cow::Borrowed(text)),
        list @ Value::Array(_) => Some(Cow::Owned(list.to_string())),
        _ => None,
    }
}

/// The managers of a stored object as everybody else knows them.
pub(super) fn unpacked(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// A stored object with its managers as everybody else knows them.
pub(super) fn whole(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::String(text)) = object.pointer("/metadata/managedFields") {
        object["metadata"]["managedFields"] = unpacked(text);
    }
    object
}

/// Whether two texts of managers tell the same but for their times.
pub(super) fn same(a: &str, b: &str) -> bool {
    let entry = |a: &Told<'_>, b: &Told<'_>| {
        a.manager == b.manager
            && a.operation == b.operation
            && a.api_version == b.api_version
            && a.subresource == b.subresource
            && (a.text() == b.text() || a.tree() == b.tree())
    };
    let all = |a: &[_], b: &[_]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| entry(a, b));
    a == b || all(&told(a), &told(b))
}

/// The managers as text, as an object is stored.
pub(super) fn pack(object: &mut Value) {
    if let Some(fields @ Value::Array(_)) = object.pointer_mut("/metadata/managedFields") {
        *fields = Value::String(fields.to_string());
    }
}

pub(super) fn read(object: &Value) -> Vec<Entry> {
    let text = text_of(object).unwrap_or_default();
    told(&text).iter().map(Told::entry).collect()
}

pub(super) fn write(object: &mut Value, entries: Vec<Entry>) {
    set(object, entries.iter().filter(|e| !e.fields.is_empty()).map(Entry::write).collect());
}

/// Puts entries into an object, in their order.
fn set(object: &mut Value, mut entries: Vec<Line>) {
    entries.sort_by(|a, b| a.order.cmp(&b.order));
    if entries.is_empty() {
        drop(object["metadata"].as_object_mut().and_then(|m| m.shift_remove("managedFields")));
    } else {
        let entries: Vec<String> = entries.into_iter().map(|entry| entry.text).collect();
        object["metadata"]["managedFields"] = format!("[{}]", entries.join(",")).into();
    }
}

/// Leaves only what a writer of this part of the object may own.
pub(super) fn ownable(def: &ResourceDef, part: Part, fields: &mut Fields) {
    fields.retain(|path| {
        let names: Vec<&str> = path.iter().map(|s| s.strip_prefix("f:").unwrap_or(s)).collect();
        is_ownable(def, part, &names)
    });
}

/// Looks at the first two names of a field, and at how many there are, up to three.
fn is_ownable(def: &ResourceDef, part: Part, names: &[&str]) -> bool {
    match names {
        [] | ["apiVersion" | "kind" | "metadata"] => false,
        ["metadata", name] if IDENTITY.contains(name) => false,
        ["metadata", "managedFields", ..] => false,
        // The server sets both.
        ["spec" | "status", ..] if def.is_namespaces() && part == Part::Main => false,
        ["status", ..] => part != Part::Main || def.status != StatusMode::Separate,
        ["spec", ..] => part != Part::Status,
        ["metadata", ..] => part != Part::Status || !def.custom,
        _ => true,
    }
}

fn ownable_changes(def: &ResourceDef, part: Part, found: &mut Comparison) {
    for fields in [&mut found.added, &mut found.modified, &mut found.removed] {
        ownable(def, part, fields);
    }
}

/// Who writes, and what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    /// Whose fields these are.
    pub name: &'a str,
    pub part: Part,
    /// Nothing but the status can have changed.
    pub only_status: bool,
}

/// What a PUT, PATCH or POST of `new` over `old` makes of the managers.
pub(super) fn updated(def: &ResourceDef, by: Writer<'_>, old: Option<&Value>, new: &mut Value) {
    let Writer { name: manager, part, only_status } = by;
    let nothing = json!({});
    let sent = text_of(new).map(Cow::into_owned);
    let there = old.and_then(text_of);
    let before = sent.as_deref().or(there.as_deref());
    let entries = before.map(told).unwrap_or_default();
    // An object whose managers were cleared has none until somebody applies.
    if old.is_some() && entries.is_empty() {
        return write(new, Vec::new());
    }
    let schema = def.schema();
    let nothing = if def.custom || old.is_some() { nothing } else { empty_structs(schema, new) };
    let own = Entry::new(manager, "Update", def.api_version(), part);
    if old.is_none() && sent.is_none() {
        let mut set_by = fields::Tree::made(schema, &nothing, new);
        set_by.retain(|names| is_ownable(def, part, names));
        let entries = if set_by.is_empty() { Vec::new() } else { vec![own.with(&set_by.text())] };
        return set(new, entries);
    }
    let mut found = match old {
        // The rest is as it was.
        Some(old) if only_status => fields::compare_field(schema, "status", old, new),
        _ => fields::compare(schema, old.unwrap_or(&nothing), new),
    };
    ownable_changes(def, part, &mut found);
    let as_stored = match (sent.as_deref(), there.as_deref()) {
        (None, _) => true,
        (Some(sent), Some(there)) => sent == there || equal(&unpacked(sent), &unpacked(there)),
        (Some(_), None) => false,
    };
    if as_stored && own.has(&found, &entries) {
        new["metadata"]["managedFields"] = before.unwrap_or_default().into();
        return;
    }
    let entries = own.among(&entries, &found, as_stored);
    set(new, entries);
}

/// An object of a native kind before anybody wrote: its structs are there, and empty.
fn empty_structs(schema: Option<Schema<'_>>, new: &Value) -> Value {
    let Some(schema) = schema else { return json!({}) };
    let is_struct = |name: &str| schema.field(name).is_some_and(|f| f.has_properties() && !f.is_map());
    let there = new.as_object().into_iter().flatten().filter(|(name, value)| value.is_object() && is_struct(name));
    let empty = new.as_object().into_iter().flatten().filter(|(_, value)| *value == "");
    let empty = empty.map(|(name, value)| (name.clone(), value.clone()));
    there.map(|(name, _)| (name.clone(), json!({}))).chain(empty).collect()
}

impl Entry {
    /// Whether nothing becomes of the managers `there`: all that was changed is this writer's already, and nobody
    /// else's. A status that goes on is so each time, and need not be taken apart and put together again.
    fn has(&self, found: &Comparison, there: &[Told<'_>]) -> bool {
        let (own, others): (Vec<&Told<'_>>, Vec<&Told<'_>>) = there.iter().partition(|told| self.is_of(told));
        let [own] = own.as_slice() else { return false };
        let is_same = found.added.is_empty() && found.removed.is_empty();
        is_same && {
            let (own, others) = (own.tree(), others.iter().map(|other| other.tree()).collect::<Vec<_>>());
            found.modified.iter().all(|path| own.holds(path) && !others.iter().any(|other| other.holds(path)))
        }
    }

    /// Whether an entry is this writer's.
    fn is_of(&self, entry: &Told<'_>) -> bool {
        entry.manager == self.manager
            && entry.operation == self.operation
            && entry.subresource == self.subresource
            && entry.api_version == self.api_version
    }

    /// All entries after this writer's change, who owns what it set and changed, and no more what is gone. `as_stored`:
    /// the others were written by this server, so that one that loses nothing stays as it is.
    fn among(mut self, before: &[Told<'_>], found: &Comparison, as_stored: bool) -> Vec<Line> {
        let mut entries = Vec::new();
        let mut own = None;
        for told in before {
            if own.is_none() && self.is_of(told) {
                own = Some(told);
                continue;
            }
            let tree = told.tree();
            let changed = || found.modified.iter().chain(&found.added).chain(&found.removed);
            if as_stored && !changed().any(|path| tree.holds(path)) {
                entries.push(told.line(told.text()));
                continue;
            }
            let mut left = fields::Tree::clone(&tree);
            for path in changed() {
                left.remove(path);
            }
            entries.extend((!left.is_empty()).then(|| told.line(&left.text())));
        }
        let mut tree = own.map(|own| fields::Tree::clone(&own.tree())).unwrap_or_default();
        let mut is_other = false;
        for path in &found.removed {
            is_other |= tree.remove(path);
        }
        for path in found.modified.iter().chain(&found.added) {
            is_other |= tree.insert(path);
        }
        if let Some(own) = own.filter(|_| !is_other) {
            self.time = own.time.to_string();
        }
        if !tree.is_empty() {
            entries.push(self.with(&tree.text()));
        }
        entries
    }
}

/// The others lose what somebody else changed.
pub(super) fn release(entries: &mut [Entry], found: &Comparison) {
    for entry in entries {
        entry.fields.retain(|f| !found.modified.contains(f) && !found.added.contains(f) && !found.removed.contains(f));
    }
}

/// What an applier would change of others'.
pub(super) fn conflicts(entries: &[Entry], found: &Comparison) -> Vec<(String, Vec<fields::Path>)> {
    entries
        .iter()
        .map(|entry| {
            let theirs = entry.fields.iter().filter(|f| found.modified.contains(*f) || found.added.contains(*f));
            (entry.describe(), theirs.cloned().collect::<Vec<_>>())
        })
        .filter(|(_, paths)| !paths.is_empty())
        .collect()
}

/// The fields of an object that nobody has been recorded for.
pub(super) fn before_first_apply(def: &ResourceDef, schema: Option<Schema<'_>>, live: &Value) -> Entry {
    let mut entry = Entry::new("before-first-apply", "Update", def.api_version(), Part::Main);
    entry.fields = fields::compare(schema, &json!({}), live).added;
    ownable(def, Part::Main, &mut entry.fields);
    entry
}
