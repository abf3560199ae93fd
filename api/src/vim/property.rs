//! PropertyCollector: what to read, and what was read.

use std::collections::BTreeMap;

use super::MoRef;
use super::envelope::Fault;
use super::xml::{Element, Writer};

/// Properties by path. An unset property has no entry.
pub type Props = BTreeMap<String, Element>;

/// Paths to read of one type (its subtypes included).
#[derive(Debug, Clone)]
pub struct PropertySpec<'a> {
    pub kind: &'a str,
    pub paths: &'a [&'a str],
}

/// Where to start.
#[derive(Debug, Clone)]
pub enum Select<'a> {
    /// These objects themselves.
    Objects(&'a [MoRef]),
    /// What a container view holds.
    View(&'a MoRef),
}

/// A `PropertyFilterSpec`.
#[derive(Debug, Clone)]
pub struct FilterSpec<'a> {
    pub props: Vec<PropertySpec<'a>>,
    pub select: Select<'a>,
}

impl FilterSpec<'_> {
    /// propSet, objectSet, reportMissingObjectsInResults.
    pub fn write(&self, name: &str, w: &mut Writer) {
        w.node(name, |w| {
            for spec in &self.props {
                w.node("propSet", |w| {
                    w.text("type", spec.kind).text("all", false);
                    for path in spec.paths {
                        w.text("pathSet", path);
                    }
                });
            }
            match &self.select {
                Select::Objects(objects) => {
                    for object in *objects {
                        w.node("objectSet", |w| {
                            w.moref("obj", object).text("skip", false);
                        });
                    }
                }
                Select::View(view) => {
                    w.node("objectSet", |w| {
                        w.moref("obj", view).text("skip", true).typed("selectSet", "TraversalSpec", |w| {
                            w.text("name", "view").text("type", &view.kind).text("path", "view").text("skip", false);
                        });
                    });
                }
            }
        });
    }
}

/// One object of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectContent {
    pub obj: MoRef,
    pub props: Props,
    /// Properties that exist but could not be read, and why.
    pub missing: Vec<(String, Fault)>,
}

impl ObjectContent {
    fn parse(element: &Element) -> Option<Self> {
        let mut props = Props::new();
        for prop in element.all("propSet") {
            if let (Some(name), Some(val)) = (prop.text_at("name"), prop.child("val")) {
                props.insert(name.to_owned(), val.clone());
            }
        }
        Some(Self { obj: element.moref_at("obj")?, props, missing: missing(element) })
    }
    pub fn text(&self, path: &str) -> Option<&str> {
        self.props.get(path).map(|e| e.text.as_str())
    }
    pub fn moref(&self, path: &str) -> Option<MoRef> {
        self.props.get(path).and_then(Element::moref)
    }
    /// The references in an array property.
    pub fn morefs(&self, path: &str) -> Vec<MoRef> {
        self.props.get(path).map(|e| e.children.iter().filter_map(Element::moref).collect()).unwrap_or_default()
    }
    pub fn parse_prop<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.props.get(path).map(Element::flag)
    }
}

fn missing(element: &Element) -> Vec<(String, Fault)> {
    element
        .all("missingSet")
        .filter_map(|m| Some((m.text_at("path")?.to_owned(), Fault::localized(m.child("fault")?))))
        .collect()
}

/// A page of `RetrievePropertiesEx`: the objects and the token of the next page. No return value
/// at all is an empty page.
pub fn page(values: &[Element]) -> (Vec<ObjectContent>, Option<String>) {
    let Some(result) = values.first() else { return (Vec::new(), None) };
    let objects = result.all("objects").filter_map(ObjectContent::parse).collect();
    (objects, result.text_at("token").filter(|t| !t.is_empty()).map(str::to_owned))
}

/// How an object came into an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKind {
    Enter,
    Modify,
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUpdate {
    pub kind: UpdateKind,
    pub obj: MoRef,
    /// Path and new value; `None`: the property is unset now.
    pub changes: Vec<(String, Option<Element>)>,
    pub missing: Vec<(String, Fault)>,
}

/// An answer of `WaitForUpdatesEx`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateSet {
    pub version: String,
    pub updates: Vec<ObjectUpdate>,
    /// More is ready: ask again at once.
    pub truncated: bool,
}

impl UpdateSet {
    /// `None`: nothing changed in the time given.
    pub fn parse(values: &[Element]) -> Option<Self> {
        let set = values.first()?;
        let mut updates = Vec::new();
        for object in set.all("filterSet").flat_map(|filter| filter.all("objectSet")) {
            let Some(obj) = object.moref_at("obj") else { continue };
            let kind = match object.text_at("kind") {
                Some("enter") => UpdateKind::Enter,
                Some("leave") => UpdateKind::Leave,
                _ => UpdateKind::Modify,
            };
            let changes = object
                .all("changeSet")
                .filter_map(|c| Some((c.text_at("name")?.to_owned(), c.child("val").cloned())))
                .collect();
            updates.push(ObjectUpdate { kind, obj, changes, missing: missing(object) });
        }
        Some(Self {
            version: set.text_at("version").unwrap_or_default().to_owned(),
            updates,
            truncated: set.flag_at("truncated").unwrap_or(false),
        })
    }
}

impl ObjectUpdate {
    /// Brings `props` up to date.
    pub fn apply(&self, props: &mut Props) {
        for (path, value) in &self.changes {
            match value {
                Some(value) => props.insert(path.clone(), value.clone()),
                None => props.remove(path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_property_is_absent_and_an_unreadable_one_is_named() {
        let xml = br#"<returnval xmlns:xsi="i"><token>t1</token><objects><obj type="VirtualMachine">vm-62</obj>
          <propSet><name>name</name><val xsi:type="xsd:string">a</val></propSet>
          <propSet><name>network</name><val xsi:type="ArrayOfManagedObjectReference"><ManagedObjectReference type="Network">network-7</ManagedObjectReference></val></propSet>
          <missingSet><path>config.uuid</path><fault><fault xsi:type="NoPermission"><privilegeId>System.Read</privilegeId></fault><localizedMessage>No.</localizedMessage></fault></missingSet>
          </objects></returnval>"#;
        let (objects, token) = page(&[Element::parse(xml).unwrap()]);
        assert_eq!(token.as_deref(), Some("t1"));
        assert_eq!(objects[0].text("name"), Some("a"));
        assert_eq!(objects[0].morefs("network"), [MoRef::new("Network", "network-7")]);
        assert_eq!(objects[0].text("config.instanceUuid"), None);
        assert_eq!(objects[0].missing[0].1.to_string(), "No. (NoPermission), privilegeId System.Read");
        assert_eq!(page(&[]).0, []);
    }

    #[test]
    fn an_assign_without_value_unsets_the_property() {
        let xml = br#"<returnval><version>3</version><filterSet><filter type="PropertyFilter">f</filter><objectSet><kind>modify</kind><obj type="VirtualMachine">vm-1</obj><changeSet><name>snapshot</name><op>assign</op></changeSet></objectSet></filterSet><truncated>true</truncated></returnval>"#;
        let set = UpdateSet::parse(&[Element::parse(xml).unwrap()]).unwrap();
        assert!(set.truncated);
        let mut props = Props::from([("snapshot".to_owned(), Element::default())]);
        set.updates[0].apply(&mut props);
        assert!(props.is_empty());
        assert_eq!(UpdateSet::parse(&[]), None);
    }
}
