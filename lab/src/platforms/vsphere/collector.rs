//! The property collector: selection, retrieval, and updates since a version.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use tokio::sync::watch;

use super::fault::{Fault, fault, invalid_argument, object_gone};
use super::session::reference;
use super::tree::{Scope, is_a, names};
use super::value::Ref;
use super::xml::{Node, escape};

#[derive(Debug, Clone)]
struct PropertySpec {
    kind: String,
    all: bool,
    paths: Vec<String>,
}

#[derive(Debug, Clone)]
struct ObjectSpec {
    object: Ref,
    skip: bool,
    select: Vec<Selection>,
}

#[derive(Debug, Clone)]
enum Selection {
    Named(String),
    Traverse { name: Option<String>, kind: String, path: String, skip: bool, select: Vec<Selection> },
}

/// A `PropertyFilterSpec`.
#[derive(Debug, Clone)]
pub struct FilterSpec {
    properties: Vec<PropertySpec>,
    objects: Vec<ObjectSpec>,
    tolerant: bool,
}

fn selections(node: &Node) -> Vec<Selection> {
    let one = |node: &Node| match (node.string("type"), node.string("path")) {
        (Some(kind), Some(path)) => Selection::Traverse {
            name: node.string("name"),
            kind,
            path,
            skip: node.flag("skip").unwrap_or(false),
            select: selections(node),
        },
        _ => Selection::Named(node.string("name").unwrap_or_default()),
    };
    node.all("selectSet").map(one).collect()
}

impl FilterSpec {
    pub fn parse(node: &Node) -> Self {
        let property = |node: &Node| PropertySpec {
            kind: node.string("type").unwrap_or_default(),
            all: node.flag("all").unwrap_or(false),
            paths: node.all("pathSet").map(|path| path.text.trim().to_owned()).collect(),
        };
        let object = |node: &Node| ObjectSpec {
            object: node.child("obj").map(reference).unwrap_or_else(|| super::value::mo("", "")),
            skip: node.flag("skip").unwrap_or(false),
            select: selections(node),
        };
        Self {
            properties: node.all("propSet").map(property).collect(),
            objects: node.all("objectSet").map(object).collect(),
            tolerant: node.flag("reportMissingObjectsInResults").unwrap_or(false),
        }
    }

    /// The selected objects, each once, in the order of discovery.
    fn select(&self, scope: &Scope<'_>, strict: bool) -> Result<Vec<Ref>, Fault> {
        let mut found = Found::default();
        for spec in &self.objects {
            if !scope.exists(&spec.object) {
                if strict && !self.tolerant {
                    return Err(object_gone(spec.object.clone()));
                }
                continue;
            }
            let mut named = BTreeMap::new();
            collect_names(&spec.select, &mut named);
            let mut walked = Vec::new();
            if !spec.skip {
                found.add(spec.object.clone());
            }
            walk(scope, &spec.object, &spec.select, &named, &mut walked, &mut found)?;
        }
        Ok(found.order)
    }

    /// Paths of all property specs that match an object, merged.
    fn paths(&self, kind: &str) -> Option<Vec<String>> {
        let mut paths: Vec<String> = Vec::new();
        let mut matched = false;
        for spec in self.properties.iter().filter(|spec| is_a(kind, &spec.kind)) {
            matched = true;
            let all = names(kind).filter(|_| spec.all).map(str::to_owned);
            for path in spec.paths.iter().cloned().chain(all) {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        matched.then_some(paths)
    }

    /// The state of every selected object: path → XML of the value, where it is set.
    fn state(&self, scope: &Scope<'_>, strict: bool) -> Result<Vec<(Ref, Values)>, Fault> {
        let mut objects = Vec::new();
        for object in self.select(scope, strict)? {
            let Some(paths) = self.paths(&object.kind) else { continue };
            let mut values = Vec::new();
            for path in paths {
                let value = scope.get(&object, &path)?.map(|value| {
                    let mut xml = String::new();
                    value.typed_xml("val", &mut xml);
                    xml
                });
                values.push((path, value));
            }
            objects.push((object, values));
        }
        Ok(objects)
    }
}

type Values = Vec<(String, Option<String>)>;

#[derive(Default)]
struct Found {
    order: Vec<Ref>,
    known: std::collections::HashSet<Ref>,
}

impl Found {
    fn add(&mut self, object: Ref) {
        if self.known.insert(object.clone()) {
            self.order.push(object);
        }
    }
}

fn collect_names<'a>(select: &'a [Selection], named: &mut BTreeMap<&'a str, &'a Selection>) {
    for selection in select {
        if let Selection::Traverse { name, select, .. } = selection {
            if let Some(name) = name {
                named.insert(name, selection);
            }
            collect_names(select, named);
        }
    }
}

fn walk<'a>(
    scope: &Scope<'_>,
    object: &Ref,
    select: &'a [Selection],
    named: &BTreeMap<&'a str, &'a Selection>,
    walked: &mut Vec<(Ref, *const Selection)>,
    found: &mut Found,
) -> Result<(), Fault> {
    for selection in select {
        let target = match selection {
            Selection::Named(name) => *named.get(name.as_str()).ok_or_else(|| invalid_argument("selectSet"))?,
            Selection::Traverse { .. } => selection,
        };
        let Selection::Traverse { kind, path, skip, select, .. } = target else { continue };
        let step = (object.clone(), std::ptr::from_ref(target));
        // The same traversal of the same object again would find nothing new.
        if !is_a(&object.kind, kind) || walked.contains(&step) {
            continue;
        }
        walked.push(step);
        for next in scope.get(object, path)?.map(|value| value.references()).unwrap_or_default() {
            if !scope.exists(&next) {
                continue;
            }
            if !*skip {
                found.add(next.clone());
            }
            walk(scope, &next, select, named, walked, found)?;
        }
    }
    Ok(())
}

fn object_xml(object: &Ref) -> String {
    format!("<obj type=\"{}\">{}</obj>", object.kind, escape(&object.id))
}

/// `ObjectContent` of everything that the filters select, each as the inside of its element.
pub fn retrieve(specs: &[FilterSpec], scope: &Scope<'_>) -> Result<Vec<String>, Fault> {
    let mut contents = Vec::new();
    for spec in specs {
        for (object, values) in spec.state(scope, true)? {
            let mut xml = object_xml(&object);
            for (path, value) in values {
                if let Some(value) = value {
                    xml += &format!("<propSet><name>{}</name>{value}</propSet>", escape(&path));
                }
            }
            contents.push(xml);
        }
    }
    Ok(contents)
}

struct Filter {
    spec: FilterSpec,
    /// What the client has been told.
    told: BTreeMap<Ref, BTreeMap<String, Option<String>>>,
}

/// One collector with its filters and its place in time.
pub struct Collector {
    filters: BTreeMap<String, Filter>,
    version: u64,
    /// Pages of a retrieval that the client has not fetched yet.
    pub pages: BTreeMap<String, Vec<String>>,
    /// Counts cancelled waits.
    pub cancel: Arc<watch::Sender<u64>>,
}

impl Default for Collector {
    fn default() -> Self {
        Self { filters: BTreeMap::new(), version: 0, pages: BTreeMap::new(), cancel: Arc::new(watch::Sender::new(0)) }
    }
}

impl Collector {
    pub fn add_filter(&mut self, id: String, spec: FilterSpec, scope: &Scope<'_>) -> Result<(), Fault> {
        // A bad path or a missing object must fail here, not in the wait.
        spec.state(scope, true)?;
        self.filters.insert(id, Filter { spec, told: BTreeMap::new() });
        Ok(())
    }

    pub fn remove_filter(&mut self, id: &str) -> bool {
        self.filters.remove(id).is_some()
    }

    /// Takes up the client's version: empty starts over.
    pub fn resume(&mut self, version: &str) -> Result<(), Fault> {
        if version.is_empty() {
            self.filters.values_mut().for_each(|filter| filter.told.clear());
        } else if version.parse::<u64>().ok() != Some(self.version) {
            return Err(fault("InvalidCollectorVersion", "The version is not known to this collector."));
        }
        Ok(())
    }
}

/// The inside of an `UpdateSet`, or nothing where nothing changed.
pub fn updates(collector: &mut Collector, scope: &Scope<'_>, limit: usize) -> Result<Option<String>, Fault> {
    let mut left = limit.max(1);
    let mut truncated = false;
    let mut sets = String::new();
    for (id, filter) in &mut collector.filters {
        let present = filter.spec.state(scope, false)?;
        let mut objects = String::new();
        let gone: Vec<Ref> =
            filter.told.keys().filter(|told| !present.iter().any(|(object, _)| object == *told)).cloned().collect();
        for object in gone {
            if left == 0 {
                truncated = true;
                break;
            }
            left -= 1;
            filter.told.remove(&object);
            objects += &format!("<objectSet><kind>leave</kind>{}</objectSet>", object_xml(&object));
        }
        for (object, values) in present {
            let (kind, changes) = match filter.told.entry(object.clone()) {
                Entry::Vacant(_) => ("enter", values.iter().filter(|(_, value)| value.is_some()).collect::<Vec<_>>()),
                Entry::Occupied(told) => {
                    let changed: Vec<_> =
                        values.iter().filter(|(path, value)| told.get().get(path) != Some(value)).collect();
                    if changed.is_empty() {
                        continue;
                    }
                    ("modify", changed)
                }
            };
            if left == 0 {
                truncated = true;
                break;
            }
            left -= 1;
            objects += &format!("<objectSet><kind>{kind}</kind>{}", object_xml(&object));
            for (path, value) in changes {
                let value = value.as_deref().unwrap_or_default();
                objects += &format!("<changeSet><name>{}</name><op>assign</op>{value}</changeSet>", escape(path));
            }
            objects += "</objectSet>";
            filter.told.insert(object, values.into_iter().collect());
        }
        if !objects.is_empty() {
            sets += &format!("<filterSet><filter type=\"PropertyFilter\">{id}</filter>{objects}</filterSet>");
        }
    }
    if sets.is_empty() {
        return Ok(None);
    }
    collector.version += 1;
    let more = if truncated { "<truncated>true</truncated>" } else { "" };
    Ok(Some(format!("<version>{}</version>{sets}{more}", collector.version)))
}
