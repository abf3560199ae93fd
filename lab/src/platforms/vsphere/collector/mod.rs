//! The property collector: retrieval, and updates since a version.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::watch;

use super::fault::{Fault, fault};
use super::tree::Scope;
use super::value::{Ref, mo};
use super::xml::escape;
use crate::world::Interest;

mod reach;
mod select;
#[cfg(test)]
mod tests;

use reach::{Reach, Source, Touched};
pub use select::FilterSpec;

/// Path and XML of the value, where it is set.
pub type Values = Vec<(String, Option<String>)>;

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
    reach: Reach,
    /// What the client has been told: a digest of every value, so that nothing is held twice.
    told: BTreeMap<Ref, Vec<u64>>,
    /// What may have changed since.
    pending: BTreeSet<Ref>,
    /// The world's version that `pending` is complete for; `None`: nothing was told yet.
    seen: Option<u64>,
    /// Everything that is selected, where that had to be looked for.
    selected: Option<HashSet<Ref>>,
    /// By kind, for every kind that was looked at.
    shown: BTreeMap<String, Arc<Shown>>,
}

/// What a filter shows of a kind: found once, not with every object.
struct Shown {
    /// `None`: nothing, not even that the object is there.
    paths: Option<Vec<String>>,
    source: Source,
}

/// What an object's values look like, in the order of the paths.
fn digests(values: &Values) -> Vec<u64> {
    let digest = |value: &Option<String>| {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    };
    values.iter().map(|(_, value)| digest(value)).collect()
}

/// What a client is told of one object, and what it knows then; `None`: it has left.
struct News {
    xml: String,
    known: Option<Vec<u64>>,
}

impl Filter {
    fn new(spec: FilterSpec, reach: Reach) -> Self {
        Self {
            spec,
            reach,
            told: BTreeMap::new(),
            pending: BTreeSet::new(),
            seen: None,
            selected: None,
            shown: BTreeMap::new(),
        }
    }

    /// Brings `pending` up to date, and `selected`.
    fn refresh(&mut self, scope: &Scope<'_>) -> Result<(), Fault> {
        match self.seen.and_then(|seen| Touched::since(scope.state, seen)) {
            Some(touched) => self.look_at(scope, &touched)?,
            None => {
                self.survey(scope)?;
                self.pending.extend(self.told.keys().cloned());
            }
        }
        self.seen = Some(scope.state.log.version());
        Ok(())
    }

    fn look_at(&mut self, scope: &Scope<'_>, touched: &Touched) -> Result<(), Fault> {
        match &self.reach {
            Reach::Objects(own) => {
                self.pending.extend(touched.objects().filter(|object| own.contains(object)).cloned());
                self.selected = None;
            }
            Reach::View(_) => {
                self.pending.extend(touched.vms().cloned());
                self.selected = None;
            }
            Reach::Inventory(..) | Reach::Everything => {
                if !self.follow(scope, touched) {
                    self.survey(scope)?;
                }
                self.suspect(touched);
            }
        }
        Ok(())
    }

    /// Looks for everything that is selected, and at what came and what left.
    fn survey(&mut self, scope: &Scope<'_>) -> Result<(), Fault> {
        let selected: HashSet<Ref> = self.spec.select(scope, false)?.into_iter().collect();
        self.pending.extend(selected.iter().filter(|object| !self.told.contains_key(object)).cloned());
        self.pending.extend(self.told.keys().filter(|object| !selected.contains(object)).cloned());
        self.selected = Some(selected);
        Ok(())
    }

    /// Brings `selected` up to date without walking the tree, where VMs alone came and went.
    fn follow(&mut self, scope: &Scope<'_>, touched: &Touched) -> bool {
        let Reach::Inventory(id, view) = &self.reach else { return false };
        let stands = scope.session.is_some_and(|session| session.views.get(id) == Some(view));
        let Some(selected) = self.selected.as_mut().filter(|_| stands && !touched.folders) else { return false };
        for vm in touched.vms() {
            // Wherever it is: if its folder is gone, its host still leads to it.
            if view.wants(vm) && scope.exists(vm) {
                selected.insert(vm.clone());
            } else {
                selected.remove(vm);
            }
        }
        true
    }

    /// Looks at what was touched, and at what may show it.
    fn suspect(&mut self, touched: &Touched) {
        let selected = |object: &Ref| self.selected.as_ref().is_some_and(|selected| selected.contains(object));
        let known = |object: &&Ref| self.told.contains_key(object) || selected(object);
        self.pending.extend(touched.objects().filter(known).cloned());
        for (kind, _) in self.shown.iter().filter(|(_, shown)| shown.source.is_in(touched)) {
            let own = self.told.range(mo(kind, "")..).map(|(object, _)| object);
            self.pending.extend(own.take_while(|object| object.kind == *kind).cloned());
        }
    }

    fn shown(&mut self, kind: &str) -> Arc<Shown> {
        if let Some(known) = self.shown.get(kind) {
            return known.clone();
        }
        let paths = self.spec.paths(kind);
        let source = Source::of(kind, paths.as_deref().unwrap_or_default());
        let shown = Arc::new(Shown { paths, source });
        self.shown.insert(kind.to_owned(), shown.clone());
        shown
    }

    fn selects(&self, scope: &Scope<'_>, object: &Ref) -> bool {
        match (&self.selected, &self.reach) {
            (Some(selected), _) => selected.contains(object),
            (None, Reach::View(view)) => scope.exists(object) && view.holds(scope, object),
            (None, _) => scope.exists(object),
        }
    }

    /// What is new of an object, if anything.
    fn news(&self, scope: &Scope<'_>, object: &Ref, shown: &Shown) -> Result<Option<News>, Fault> {
        let told = self.told.get(object);
        let Some(paths) = shown.paths.as_ref().filter(|_| self.selects(scope, object)) else {
            let xml = format!("<objectSet><kind>leave</kind>{}</objectSet>", object_xml(object));
            return Ok(told.map(|_| News { xml, known: None }));
        };
        let values = scope.xml(object, paths)?;
        let known = digests(&values);
        if told == Some(&known) {
            return Ok(None);
        }
        let kind = if told.is_some() { "modify" } else { "enter" };
        let mut xml = format!("<objectSet><kind>{kind}</kind>{}", object_xml(object));
        for (index, (path, value)) in values.iter().enumerate() {
            let is_new = match told {
                Some(told) => told.get(index) != known.get(index),
                None => value.is_some(),
            };
            if is_new {
                let value = value.as_deref().unwrap_or_default();
                xml += &format!("<changeSet><name>{}</name><op>assign</op>{value}</changeSet>", escape(path));
            }
        }
        xml += "</objectSet>";
        Ok(Some(News { xml, known: Some(known) }))
    }
}

/// One collector with its filters and its place in time.
pub struct Collector {
    filters: BTreeMap<String, Filter>,
    version: u64,
    /// Pages of a retrieval that the client has not fetched yet.
    pub pages: BTreeMap<String, Vec<String>>,
    /// Counts cancelled waits.
    pub cancel: Arc<watch::Sender<u64>>,
    /// Counts filters that came: a wait that is going on looks at them, too.
    pub grown: Arc<watch::Sender<u64>>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            filters: BTreeMap::new(),
            version: 0,
            pages: BTreeMap::new(),
            cancel: Arc::new(watch::Sender::new(0)),
            grown: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Collector {
    pub fn add_filter(&mut self, id: String, spec: FilterSpec, scope: &Scope<'_>) -> Result<(), Fault> {
        // A bad path or a missing object must fail here, not in the wait.
        spec.state(scope, true)?;
        let reach = spec.reach(scope);
        self.filters.insert(id, Filter::new(spec, reach));
        self.grown.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What has to be touched before there can be anything new.
    pub fn interest(&self) -> Interest {
        let mut ids = BTreeSet::new();
        for filter in self.filters.values() {
            match &filter.reach {
                Reach::Objects(objects) => ids.extend(objects.iter().map(|object| object.id.clone())),
                Reach::View(_) | Reach::Inventory(..) | Reach::Everything => return Interest::Everything,
            }
        }
        Interest::Only(ids)
    }

    pub fn remove_filter(&mut self, id: &str) -> bool {
        self.filters.remove(id).is_some()
    }

    /// Takes up the client's version: empty starts over.
    pub fn resume(&mut self, version: &str) -> Result<(), Fault> {
        if version.is_empty() {
            for filter in self.filters.values_mut() {
                filter.told.clear();
                filter.pending.clear();
                filter.seen = None;
            }
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
        filter.refresh(scope)?;
        let mut objects = String::new();
        while let Some(object) = filter.pending.pop_first() {
            let shown = filter.shown(&object.kind);
            let news = filter.news(scope, &object, &shown);
            if news.is_err() {
                // The next look finds the object again.
                filter.selected = None;
            }
            let Some(news) = news? else { continue };
            if left == 0 {
                truncated = true;
                filter.pending.insert(object);
                break;
            }
            left -= 1;
            objects += &news.xml;
            match news.known {
                Some(known) => drop(filter.told.insert(object, known)),
                None => drop(filter.told.remove(&object)),
            }
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
