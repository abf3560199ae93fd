//! Who set which field: `metadata.managedFields`, for writers by PUT and PATCH and for appliers.

use serde_json::{Value, json};

use super::resources::{ResourceDef, StatusMode};
use super::schema::Schema;
use super::schema::fields::{self, Comparison, Fields};
use super::store::equal;
use super::write::{Part, now};

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

    fn read(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        is_entry(entry).then(|| Self {
            manager: text("manager"),
            operation: text("operation"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: fields::from_tree(&entry["fieldsV1"]),
        })
    }

    fn write(&self) -> Value {
        self.with(fields::to_tree(&self.fields))
    }

    fn with(&self, fields: Value) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
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

fn is_entry(entry: &Value) -> bool {
    entry["operation"].as_str().is_some_and(|operation| !operation.is_empty())
}

pub(super) fn read(object: &Value) -> Vec<Entry> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(Entry::read).collect()
}

pub(super) fn write(object: &mut Value, entries: Vec<Entry>) {
    set(object, entries.iter().filter(|e| !e.fields.is_empty()).map(Entry::write).collect());
}

/// Puts entries into an object, in their order.
fn set(object: &mut Value, mut entries: Vec<Value>) {
    let order = |entry: &Value| {
        ["operation", "time", "manager", "subresource"].map(|f| entry[f].as_str().unwrap_or_default().to_owned())
    };
    entries.sort_by_key(order);
    if entries.is_empty() {
        drop(object["metadata"].as_object_mut().and_then(|m| m.shift_remove("managedFields")));
    } else {
        object["metadata"]["managedFields"] = entries.into();
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
    let sent = new["metadata"].get("managedFields").filter(|f| f.is_array());
    let there = old.and_then(|old| old["metadata"].get("managedFields")).filter(|f| f.is_array());
    // An object whose managers were cleared has none until somebody applies.
    if old.is_some() && sent.or(there).and_then(Value::as_array).is_none_or(|all| all.iter().all(|e| !is_entry(e))) {
        return write(new, Vec::new());
    }
    let schema = def.schema();
    let nothing = if def.custom || old.is_some() { nothing } else { empty_structs(schema, new) };
    let own = Entry::new(manager, "Update", def.api_version(), part);
    if old.is_none() && sent.is_none() {
        let mut set_by = fields::Tree::made(schema, &nothing, new);
        set_by.retain(|names| is_ownable(def, part, names));
        let entries = if set_by.is_empty() { Vec::new() } else { vec![own.with(set_by.write())] };
        return set(new, entries);
    }
    let mut found = match old {
        // The rest is as it was.
        Some(old) if only_status => fields::compare_field(schema, "status", old, new),
        _ => fields::compare(schema, old.unwrap_or(&nothing), new),
    };
    ownable_changes(def, part, &mut found);
    let as_stored = sent.is_none_or(|sent| there.is_some_and(|there| equal(sent, there)));
    let before = sent.or(there).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if as_stored && own.has(&found, before) {
        if sent.is_none() {
            new["metadata"]["managedFields"] = before.to_vec().into();
        }
        return;
    }
    let entries = own.among(before, &found, as_stored);
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
    fn has(&self, found: &Comparison, there: &[Value]) -> bool {
        let (own, others): (Vec<&Value>, Vec<&Value>) = there.iter().partition(|entry| self.is_of(entry));
        let [own] = own.as_slice() else { return false };
        let holds = |entry: &Value, path: &fields::Path| fields::holds(&entry["fieldsV1"], path);
        found.added.is_empty()
            && found.removed.is_empty()
            && found.modified.iter().all(|path| holds(own, path) && !others.iter().any(|other| holds(other, path)))
    }

    /// Whether an entry is this writer's.
    fn is_of(&self, entry: &Value) -> bool {
        let is = |field: &str, own: &str| entry[field].as_str().unwrap_or_default() == own;
        is("manager", &self.manager)
            && is("operation", &self.operation)
            && is("subresource", &self.subresource)
            && is("apiVersion", &self.api_version)
    }

    /// All entries after this writer's change. `as_stored`: the others were written by this server, so that one that
    /// loses nothing stays as it is.
    fn among(mut self, before: &[Value], found: &Comparison, as_stored: bool) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut own = None;
        for entry in before.iter().filter(|entry| is_entry(entry)) {
            if own.is_none() && self.is_of(entry) {
                own = Entry::read(entry);
                continue;
            }
            let loses = |path| fields::holds(&entry["fieldsV1"], path);
            if as_stored && !found.modified.iter().chain(&found.added).chain(&found.removed).any(loses) {
                entries.push(entry.clone());
                continue;
            }
            let mut left = Entry::read(entry);
            release(left.as_mut_slice(), found);
            entries.extend(left.filter(|left| !left.fields.is_empty()).map(|left| left.write()));
        }
        let time = own.map(|before| {
            self.fields = before.fields;
            before.time
        });
        let changed = self.take(found);
        if let Some(time) = time.filter(|_| !changed) {
            self.time = time;
        }
        if !self.fields.is_empty() {
            entries.push(self.write());
        }
        entries
    }

    /// Owns what it set and changed, and no more what is gone.
    fn take(&mut self, found: &Comparison) -> bool {
        let before = self.fields.clone();
        self.fields.retain(|f| !found.removed.contains(f));
        self.fields.extend(found.modified.iter().chain(&found.added).cloned());
        self.fields != before
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
