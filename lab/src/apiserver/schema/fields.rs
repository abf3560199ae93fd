//! Sets of fields, as `managedFields` has them, and what writers do to them: which fields a value
//! sets, which differ between two values, how an applied configuration is merged.
//!
//! A path is a list of segments: `f:name` a field, `k:{"name":"x"}` an item of a list of objects,
//! `v:"x"` an item of a set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::{ListKind, Schema};
use crate::apiserver::store::equal;
use crate::apiserver::written::name;

pub(in crate::apiserver) type Path = Vec<String>;
pub(in crate::apiserver) type Fields = BTreeSet<Path>;

/// How two values differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::apiserver) struct Comparison {
    pub added: Fields,
    pub modified: Fields,
    pub removed: Fields,
}

/// A value that owners can only have as a whole. What has no schema is merged by map keys, its
/// lists are wholes.
fn is_whole(schema: Option<Schema<'_>>, value: &Value) -> bool {
    match value {
        Value::Object(_) => schema.is_some_and(|s| s.is_atomic_map()),
        Value::Array(_) => schema.is_none_or(|s| *s.list() == ListKind::Atomic),
        _ => true,
    }
}

/// The path segment of a list's item; `None` when it lacks its keys.
fn segment(schema: Schema<'_>, item: &Value) -> Option<String> {
    match schema.list() {
        ListKind::Atomic => None,
        ListKind::Set => Some(format!("v:{item}")),
        ListKind::Map(keys) => {
            let mut pairs = BTreeMap::new();
            for key in keys {
                let default = || schema.items()?.field(key)?.default().cloned();
                pairs.insert(key.clone(), item.get(key).cloned().or_else(default)?);
            }
            Some(format!("k:{}", json!(pairs)))
        }
    }
}

/// Children with their segments and schemas.
fn children<'v, 's>(schema: Option<Schema<'s>>, value: &'v Value) -> Vec<(String, Option<Schema<'s>>, &'v Value)> {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (format!("f:{k}"), schema.and_then(|s| s.field(k)), v)).collect(),
        Value::Array(list) => {
            let Some(schema) = schema else { return Vec::new() };
            list.iter().filter_map(|item| Some((segment(schema, item)?, schema.items(), item))).collect()
        }
        _ => Vec::new(),
    }
}

fn joined(path: &Path, segment: String) -> Path {
    let mut path = path.clone();
    path.push(segment);
    path
}

/// The fields that an applied configuration sets.
pub(in crate::apiserver) fn set_by(schema: Option<Schema<'_>>, config: &Value) -> Fields {
    let mut found = Fields::new();
    collect(schema, config, &Path::new(), &mut found);
    found
}

fn collect(schema: Option<Schema<'_>>, value: &Value, path: &Path, found: &mut Fields) {
    if is_whole(schema, value) {
        found.insert(path.clone());
        return;
    }
    for (segment, below, child) in children(schema, value) {
        let named = segment.strip_prefix("f:").is_some_and(|name| schema.is_some_and(|s| s.names(name)));
        let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
        let path = joined(path, segment);
        collect(below, child, &path, found);
        if empty || !named {
            found.insert(path);
        }
    }
}

/// What a writer changed.
pub(in crate::apiserver) fn compare(schema: Option<Schema<'_>>, old: &Value, new: &Value) -> Comparison {
    let mut found = Comparison::default();
    differ(schema, Some(old), Some(new), &Path::new(), &mut found);
    found
}

/// What a writer changed of one field, where nothing else can be changed.
pub(in crate::apiserver) fn compare_field(
    schema: Option<Schema<'_>>,
    name: &str,
    old: &Value,
    new: &Value,
) -> Comparison {
    let mut found = Comparison::default();
    let (was, now) = (old.get(name), new.get(name));
    if !both_equal(was, now) {
        differ(schema.and_then(|s| s.field(name)), was, now, &vec![format!("f:{name}")], &mut found);
    }
    found
}

fn both_equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    a.zip(b).map_or(a.is_none() && b.is_none(), |(a, b)| equal(a, b))
}

fn differ(schema: Option<Schema<'_>>, old: Option<&Value>, new: Option<&Value>, path: &Path, found: &mut Comparison) {
    let kind = new.or(old).unwrap_or(&Value::Null);
    let whole = is_whole(schema, kind)
        || old.zip(new).is_some_and(|(a, b)| a.is_object() != b.is_object() || a.is_array() != b.is_array());
    match (old, new) {
        (None, Some(new)) if new.is_null() => return,
        (None, Some(_)) => drop(found.added.insert(path.clone())),
        (Some(_), None) => drop(found.removed.insert(path.clone())),
        (Some(old), Some(new)) if whole && !equal(old, new) => drop(found.modified.insert(path.clone())),
        _ => {}
    }
    if whole {
        return;
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (old, new) {
        // Most of an object is what it was.
        for (name, now) in after {
            let was = before.get(name);
            if !both_equal(was, Some(now)) {
                differ(schema.and_then(|s| s.field(name)), was, Some(now), &joined(path, format!("f:{name}")), found);
            }
        }
        for (name, was) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            differ(schema.and_then(|s| s.field(name)), Some(was), None, &joined(path, format!("f:{name}")), found);
        }
        return;
    }
    let (mut before, after) = (index(schema, old), index(schema, new));
    for (segment, (below, child)) in after {
        let was = before.remove(&segment).map(|(_, v)| v);
        differ(below, was, Some(child), &joined(path, segment), found);
    }
    for (segment, (below, child)) in before {
        differ(below, Some(child), None, &joined(path, segment), found);
    }
}

fn index<'v, 's>(
    schema: Option<Schema<'s>>,
    value: Option<&'v Value>,
) -> BTreeMap<String, (Option<Schema<'s>>, &'v Value)> {
    let all = value.map(|v| children(schema, v)).unwrap_or_default();
    all.into_iter().map(|(segment, below, child)| (segment, (below, child))).collect()
}

/// An applied configuration over what is there: maps by key, lists by their kind.
pub(in crate::apiserver) fn merge(schema: Option<Schema<'_>>, live: &Value, config: &Value) -> Value {
    if is_whole(schema, config) {
        return config.clone();
    }
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, value) in config {
                let below = schema.and_then(|s| s.field(name));
                let value = merged.get(name).map_or_else(|| value.clone(), |old| merge(below, old, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(config)) => {
            let Some(schema) = schema else { return Value::Array(config.clone()) };
            Value::Array(merge_items(schema, live, config))
        }
        _ => config.clone(),
    }
}

/// What both lists have comes in the order of the configuration, what is in one only stays before
/// what followed it.
fn merge_items(schema: Schema<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let name = |item: &Value| segment(schema, item).unwrap_or_default();
    let old: Vec<(String, &Value)> = live.iter().map(|i| (name(i), i)).collect();
    let new: Vec<(String, &Value)> = config.iter().map(|i| (name(i), i)).collect();
    let is_in = |list: &[(String, &Value)], wanted: &str| list.iter().any(|(n, _)| n == wanted);
    let mut shared = new.iter().map(|(n, _)| n).filter(|n| is_in(&old, n)).peekable();
    let (mut merged, mut left, mut right) = (Vec::new(), 0, 0);
    loop {
        let (before, after) = (old.get(left), new.get(right));
        match (before, after) {
            (None, None) => return merged,
            (Some((n, item)), _) if !is_in(&new, n) => {
                merged.push(Value::clone(item));
                left += 1;
            }
            // It comes where the configuration has it.
            (Some((n, _)), _) if shared.peek() != Some(&n) => left += 1,
            (_, Some((n, item))) => {
                let was = old.iter().find(|(o, _)| o == n).map(|(_, v)| *v);
                merged.push(was.map_or_else(|| Value::clone(item), |was| merge(schema.items(), was, item)));
                if shared.peek() == Some(&n) {
                    shared.next();
                }
                if before.is_some_and(|(o, _)| o == n) {
                    left += 1;
                }
                right += 1;
            }
            (Some(_), None) => left += 1,
        }
    }
}

/// Takes the value at a path away.
pub(in crate::apiserver) fn remove(schema: Option<Schema<'_>>, value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match value {
        Value::Object(map) => {
            let Some(name) = first.strip_prefix("f:") else { return };
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(child) = map.get_mut(name) {
                remove(schema.and_then(|s| s.field(name)), child, rest);
                if child.as_array().is_some_and(Vec::is_empty) {
                    map.shift_remove(name);
                }
            }
        }
        Value::Array(list) => {
            let Some(schema) = schema else { return };
            let Some(at) = list.iter().position(|item| segment(schema, item).as_ref() == Some(first)) else { return };
            if rest.is_empty() {
                list.remove(at);
            } else if let Some(item) = list.get_mut(at) {
                remove(schema.items(), item, rest);
            }
        }
        _ => {}
    }
}

/// Lists of objects in which two items have the same keys: path, and the keys as people read them.
pub(in crate::apiserver) fn twice(schema: Option<Schema<'_>>, value: &Value, path: &Path) -> Option<(Path, String)> {
    if is_whole(schema, value) {
        return None;
    }
    let found = children(schema, value);
    if value.is_array() {
        let again = found.iter().enumerate().find(|(at, (s, ..))| found.iter().take(*at).any(|(t, ..)| t == s));
        if let Some((_, (segment, ..))) = again {
            return Some((path.clone(), readable(std::slice::from_ref(segment))));
        }
    }
    found.into_iter().find_map(|(segment, below, child)| twice(below, child, &joined(path, segment)))
}

/// A set of fields as a tree.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::apiserver) struct Tree {
    member: bool,
    below: BTreeMap<String, Tree>,
}

/// Trees that were read lately. Most objects of a kind are written by the same writers, who set the same fields: a thousand
/// Plans have three texts. Those of owned objects are each their own, but written several times.
#[derive(Default)]
struct Read {
    now: HashMap<String, Arc<Tree>>,
    /// Those of before, of which what is read again comes back.
    before: HashMap<String, Arc<Tree>>,
}

static READ: LazyLock<Mutex<Read>> = LazyLock::new(Mutex::default);
/// How many of each are remembered, and how long their texts may be.
const REMEMBERED: (usize, usize) = (256, 16 << 10);

impl Read {
    fn get(&mut self, text: &str) -> Option<Arc<Tree>> {
        if let Some(tree) = self.now.get(text) {
            return Some(tree.clone());
        }
        let (text, tree) = self.before.remove_entry(text)?;
        self.put(text, tree.clone());
        Some(tree)
    }

    fn put(&mut self, text: String, tree: Arc<Tree>) {
        let (many, long) = REMEMBERED;
        if text.len() > long {
            return;
        }
        if self.now.len() >= many {
            self.before = std::mem::take(&mut self.now);
        }
        self.now.insert(text, tree);
    }
}

impl Tree {
    /// What a writer sets who makes `new` where there was only `nothing`: the same as [`compare`] tells, without a path for
    /// each field. Objects are made more often than all else but statuses.
    pub fn made(schema: Option<Schema<'_>>, nothing: &Value, new: &Value) -> Self {
        let mut root = Self::default();
        root.make(schema, Some(nothing), new);
        root
    }

    fn make(&mut self, schema: Option<Schema<'_>>, old: Option<&Value>, new: &Value) {
        let whole = is_whole(schema, new)
            || old.is_some_and(|old| old.is_object() != new.is_object() || old.is_array() != new.is_array());
        self.member = old.map_or(!new.is_null(), |old| whole && !equal(old, new));
        if whole {
            return;
        }
        for (segment, below, child) in children(schema, new) {
            let was = segment.strip_prefix("f:").and_then(|name| old?.get(name));
            if both_equal(was, Some(child)) {
                continue;
            }
            let mut node = Self::default();
            node.make(below, was, child);
            // Of items with the same keys the last counts.
            if node.is_empty() {
                self.below.remove(&segment);
            } else {
                self.below.insert(segment, node);
            }
        }
    }

    /// Leaves the fields for which `owns` holds, which looks at their first two names and at how many there are, up to three.
    pub fn retain(&mut self, owns: impl Fn(&[&str]) -> bool) {
        self.member &= owns(&[]);
        let name = |segment: &str| segment.strip_prefix("f:").unwrap_or(segment).to_owned();
        self.below.retain(|first, node| {
            let first = name(first);
            node.member &= owns(&[&first]);
            node.below.retain(|second, node| {
                let second = name(second);
                node.member &= owns(&[&first, &second]);
                if !owns(&[&first, &second, ""]) {
                    node.below.clear();
                }
                !node.is_empty()
            });
            !node.is_empty()
        });
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// What a `fieldsV1` stands for: a node with `.` is itself in the set, beside what is below it.
    pub fn read(text: &str) -> Arc<Self> {
        let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = read().get(text) {
            return tree;
        }
        let mut tree = Self::of(&serde_json::from_str(text).unwrap_or_default());
        // The object itself is no field.
        tree.member = false;
        let tree = Arc::new(tree);
        read().put(text.to_owned(), tree.clone());
        tree
    }

    fn of(value: &Value) -> Self {
        let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
            return Self { member: true, below: BTreeMap::new() };
        };
        let below = map.iter().filter(|(segment, _)| *segment != ".");
        Self {
            member: map.contains_key("."),
            below: below.map(|(segment, value)| (segment.clone(), Self::of(value))).collect(),
        }
    }

    /// Whether a path is in the set.
    pub fn holds(&self, path: &Path) -> bool {
        let node = path.iter().try_fold(self, |node, segment| node.below.get(segment));
        !path.is_empty() && node.is_some_and(|node| node.member)
    }

    /// Puts a path into the set; whether it was not there.
    pub fn insert(&mut self, path: &Path) -> bool {
        let node = path.iter().fold(self, |node, segment| node.below.entry(segment.clone()).or_default());
        !std::mem::replace(&mut node.member, true)
    }

    /// Takes a path out of the set; whether it was there.
    pub fn remove(&mut self, path: &[String]) -> bool {
        let Some((first, rest)) = path.split_first() else { return std::mem::take(&mut self.member) };
        let Some(node) = self.below.get_mut(first) else { return false };
        let was_there = node.remove(rest);
        if node.is_empty() {
            self.below.remove(first);
        }
        was_there
    }

    /// The set.
    pub fn fields(&self) -> Fields {
        let mut found = Fields::new();
        for (segment, node) in &self.below {
            node.collect(&vec![segment.clone()], &mut found);
        }
        found
    }

    fn collect(&self, path: &Path, found: &mut Fields) {
        if self.member {
            found.insert(path.clone());
        }
        for (segment, node) in &self.below {
            node.collect(&joined(path, segment.clone()), found);
        }
    }

    /// As `fieldsV1`.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text);
        // What was written as JSON is text.
        String::from_utf8(text).unwrap_or_default()
    }

    fn write(&self, text: &mut Vec<u8>) {
        text.push(b'{');
        if self.member && !self.below.is_empty() {
            text.extend_from_slice(b"\".\":{}");
        }
        for (segment, node) in &self.below {
            name(text, segment);
            node.write(text);
        }
        text.push(b'}');
    }
}

impl From<&Fields> for Tree {
    fn from(fields: &Fields) -> Self {
        let mut root = Self::default();
        for path in fields {
            root.insert(path);
        }
        root
    }
}

/// `.spec.parts[name="b"].count`.
pub(in crate::apiserver) fn readable(path: &[String]) -> String {
    let part = |segment: &String| match segment.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("v:", value)) => format!("[={value}]"),
        Some((_, keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", keys.join(","))
        }
        None => segment.clone(),
    };
    path.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Root, custom_root};
    use super::*;

    fn to_tree(fields: &Fields) -> Value {
        serde_json::from_str(&Tree::from(fields).text()).unwrap()
    }

    fn root() -> Root {
        let spec = json!({"type": "object", "properties": {
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}},
            },
            "plain": {"type": "array", "items": {"type": "string"}},
        }});
        Root::new(
            custom_root(&json!({"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}))
                .unwrap(),
        )
    }

    #[test]
    fn a_configuration_sets_leaves_and_items() {
        let root = root();
        let config = json!({"spec": {"parts": [{"name": "a", "count": 1}], "plain": ["x"]}});
        let tree = to_tree(&set_by(Some(root.schema()), &config));
        let wanted = json!({"f:spec": {
            "f:parts": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:count": {}}},
            "f:plain": {},
        }});
        assert_eq!(tree, wanted);
        let read = Tree::read(&wanted.to_string());
        assert_eq!(to_tree(&read.fields()), wanted);
        assert_eq!(serde_json::from_str::<Value>(&read.text()).unwrap(), wanted);
    }

    #[test]
    fn a_change_is_found_inside_items() {
        let root = root();
        let of =
            |count: i64, plain: &str| json!({"spec": {"parts": [{"name": "a", "count": count}], "plain": [plain]}});
        let found = compare(Some(root.schema()), &of(1, "x"), &of(2, "y"));
        let names: Vec<String> = found.modified.iter().map(|p| readable(p)).collect();
        assert_eq!(names, [".spec.parts[name=\"a\"].count", ".spec.plain"]);
        assert!(found.added.is_empty() && found.removed.is_empty());
    }

    #[test]
    fn a_path_is_looked_for_in_a_tree_as_in_the_set_that_it_stands_for() {
        let tree = json!({"f:spec": {".": {}, "f:parts": {"k:{\"name\":\"a\"}": {".": {}, "f:count": {}}}}, "f:x": {}});
        let tree = Tree::read(&tree.to_string());
        let all = tree.fields();
        for path in [
            &["f:spec"][..],
            &["f:spec", "f:parts"],
            &["f:x"],
            &["f:y"],
            &["f:x", "f:y"],
            &[],
            &["."],
            &["f:spec", "f:parts", "k:{\"name\":\"a\"}"],
            &["f:spec", "f:parts", "k:{\"name\":\"a\"}", "f:count"],
        ] {
            let path: Path = path.iter().map(|segment| (*segment).to_owned()).collect();
            assert_eq!(tree.holds(&path), all.contains(&path), "{path:?}");
        }
    }

    #[test]
    fn a_set_without_fields_is_empty_however_it_is_told() {
        for text in ["{}", "null", r#"{".":{}}"#, "7"] {
            let mut tree = Tree::clone(&Tree::read(text));
            assert!(tree.is_empty(), "{text}");
            tree.insert(&vec!["f:a".to_owned()]);
            assert_eq!(tree.text(), r#"{"f:a":{}}"#);
        }
    }

    #[test]
    fn what_is_read_again_is_remembered_while_others_come_and_go() {
        let mut read = Read::default();
        read.put("kept".to_owned(), Arc::default());
        for other in 0..10 * REMEMBERED.0 {
            read.put(other.to_string(), Arc::default());
            assert!(read.get("kept").is_some(), "{other}");
        }
        assert!(read.get("0").is_none() && read.now.len() + read.before.len() <= 2 * REMEMBERED.0);
        read.put("x".repeat(REMEMBERED.1 + 1), Arc::default());
        assert!(read.now.keys().all(|text| text.len() <= REMEMBERED.1));
    }

    #[test]
    fn a_tree_gains_and_loses_paths_as_the_set_does() {
        let text = json!({"f:spec": {".": {}, "f:parts": {"k:{\"name\":\"a\"}": {".": {}, "f:count": {}}}}, "f:x": {}});
        let mut tree = Tree::clone(&Tree::read(&text.to_string()));
        let mut all = tree.fields();
        let path = |segments: &[&str]| segments.iter().map(|segment| (*segment).to_owned()).collect::<Path>();
        for (path, goes) in [
            (path(&["f:spec", "f:parts", "k:{\"name\":\"a\"}"]), true),
            (path(&["f:spec", "f:parts", "k:{\"name\":\"a\"}", "f:count"]), true),
            (path(&["f:spec", "f:parts"]), true),
            (path(&["f:x"]), true),
            (path(&["f:y", "f:z"]), true),
            (path(&["f:x", "f:y"]), false),
            (path(&["f:x", "f:y"]), false),
            (path(&["f:spec"]), true),
        ] {
            let changed =
                if goes { (tree.remove(&path), all.remove(&path)) } else { (tree.insert(&path), all.insert(path)) };
            assert_eq!(changed.0, changed.1);
            assert_eq!(tree.fields(), all);
            assert_eq!(tree.text(), Tree::from(&all).text());
        }
    }

    #[test]
    fn what_is_new_counts_as_a_whole_and_in_parts() {
        let native = Schema::native("", "v1", "ConfigMap");
        let found = compare(native, &json!({}), &json!({"data": {"a": "1"}}));
        assert_eq!(to_tree(&found.added), json!({"f:data": {".": {}, "f:a": {}}}));
    }

    #[test]
    fn what_is_made_is_the_same_set_as_what_is_new() {
        let root = root();
        let pod = Schema::native("", "v1", "Pod");
        let containers = json!([{"name": "a", "image": "x", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]);
        let cases = [
            (
                pod,
                json!({"spec": {}, "metadata": {}}),
                json!({"metadata": {"labels": {"a": "1"}, "name": "x"},
                "spec": {"containers": containers, "nodeName": "", "tolerations": [{"key": "a"}], "hostname": null}}),
            ),
            (
                Some(root.schema()),
                json!({}),
                json!({"spec": {"parts": [{"name": "a", "count": 1}, {"name": "b"}],
                "plain": ["x"], "none": null, "other": {}}, "status": {"a": [{"b": 1}]}}),
            ),
            (None, json!({"kept": ""}), json!({"kept": "", "a": {"b": {"c": [1]}}, "d": {}})),
        ];
        for (schema, nothing, new) in cases {
            let Comparison { mut added, modified, removed } = compare(schema, &nothing, &new);
            assert!(removed.is_empty());
            added.extend(modified);
            let made: Value = serde_json::from_str(&Tree::made(schema, &nothing, &new).text()).unwrap();
            assert_eq!(made, to_tree(&added), "{new}");
        }
    }

    #[test]
    fn lists_with_keys_are_merged_by_them_and_others_replaced() {
        let root = root();
        let live = json!({"spec": {"parts": [{"name": "a", "count": 1}, {"name": "b"}], "plain": ["x"]}});
        let config = json!({"spec": {"parts": [{"name": "b", "count": 2}], "plain": ["y"]}});
        let mut merged = merge(Some(root.schema()), &live, &config);
        assert_eq!(merged["spec"]["parts"], json!([{"name": "a", "count": 1}, {"name": "b", "count": 2}]));
        assert_eq!(merged["spec"]["plain"], json!(["y"]));
        let gone = ["f:spec", "f:parts", "k:{\"name\":\"a\"}"].map(str::to_owned);
        remove(Some(root.schema()), &mut merged, &gone);
        assert_eq!(merged["spec"]["parts"], json!([{"name": "b", "count": 2}]));
    }
}
