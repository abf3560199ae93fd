//! What a client wants to see: the objects that a `PropertyFilterSpec` selects, and their paths.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::fault::{Fault, invalid_argument, object_gone};
use super::super::session::reference;
use super::super::tree::{Scope, is_a, names};
use super::super::value::{Ref, mo};
use super::super::xml::Node;
use super::Values;

#[derive(Debug, Clone)]
pub(super) struct PropertySpec {
    pub(super) kind: String,
    pub(super) all: bool,
    pub(super) paths: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct ObjectSpec {
    pub(super) object: Ref,
    pub(super) skip: bool,
    pub(super) select: Vec<Selection>,
}

#[derive(Debug, Clone)]
pub(super) enum Selection {
    Named(String),
    Traverse { name: Option<String>, kind: String, path: String, skip: bool, select: Vec<Selection> },
}

/// A `PropertyFilterSpec`.
#[derive(Debug, Clone)]
pub struct FilterSpec {
    pub(super) properties: Vec<PropertySpec>,
    pub(super) objects: Vec<ObjectSpec>,
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
            object: node.child("obj").map(reference).unwrap_or_else(|| mo("", "")),
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
    pub(super) fn select(&self, scope: &Scope<'_>, strict: bool) -> Result<Vec<Ref>, Fault> {
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
    pub(super) fn paths(&self, kind: &str) -> Option<Vec<String>> {
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
    pub(super) fn state(&self, scope: &Scope<'_>, strict: bool) -> Result<Vec<(Ref, Values)>, Fault> {
        let mut objects = Vec::new();
        let mut paths: HashMap<String, Option<Vec<String>>> = HashMap::new();
        for object in self.select(scope, strict)? {
            let paths = paths.entry(object.kind.clone()).or_insert_with(|| self.paths(&object.kind));
            let Some(paths) = paths else { continue };
            let values = scope.xml(&object, paths)?;
            objects.push((object, values));
        }
        Ok(objects)
    }
}

#[derive(Default)]
struct Found {
    order: Vec<Ref>,
    known: HashSet<Ref>,
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
