//! A resource once, as XML and as JSON: the engine's two representations are the same tree.
//!
//! In XML `id`, `href` and `rel` are attributes and a list wraps its items; in JSON every scalar
//! but a date is a string and a list is an object with one key.

use quick_xml::escape::escape;
use serde_json::{Map, Value};

/// One value of a resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Text(String),
    /// Epoch milliseconds.
    Date(i64),
    /// The name of an item, and the items.
    List(&'static str, Vec<Node>),
    /// Repeated under its own name, without a wrapper.
    Repeat(Vec<Node>),
    Object(Object),
}

/// The fields of a resource, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(Vec<(&'static str, Node)>);

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    /// With `id` and `href`.
    pub fn resource(path: &str, id: &str) -> Self {
        Self::new().text("href", format!("{path}/{id}")).text("id", id)
    }

    pub fn with(mut self, name: &'static str, node: Node) -> Self {
        self.0.push((name, node));
        self
    }

    pub fn text(self, name: &'static str, text: impl std::fmt::Display) -> Self {
        self.with(name, Node::Text(text.to_string()))
    }

    pub fn object(self, name: &'static str, object: Object) -> Self {
        self.with(name, Node::Object(object))
    }

    pub fn list(self, name: &'static str, item: &'static str, items: Vec<Object>) -> Self {
        self.with(name, list(item, items))
    }

    pub fn date(self, name: &'static str, millis: i64) -> Self {
        self.with(name, Node::Date(millis))
    }

    /// Where there is something.
    pub fn maybe(self, name: &'static str, object: Option<Object>) -> Self {
        match object {
            Some(object) => self.object(name, object),
            None => self,
        }
    }
}

/// A collection.
pub fn list(item: &'static str, items: Vec<Object>) -> Node {
    Node::List(item, items.into_iter().map(Node::Object).collect())
}

/// The document with this root element.
pub fn xml(root: &str, node: &Node) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n");
    write_xml(root, node, &mut out);
    out
}

fn is_attribute(name: &str) -> bool {
    matches!(name, "id" | "href" | "rel")
}

fn write_xml(name: &str, node: &Node, out: &mut String) {
    match node {
        Node::Text(text) => out.push_str(&format!("<{name}>{}</{name}>", escape(text.as_str()))),
        Node::Date(millis) => out.push_str(&format!("<{name}>{}</{name}>", date_text(*millis))),
        Node::Repeat(items) => items.iter().for_each(|item| write_xml(name, item, out)),
        Node::List(item, items) => {
            out.push_str(&format!("<{name}>"));
            items.iter().for_each(|node| write_xml(item, node, out));
            out.push_str(&format!("</{name}>"));
        }
        Node::Object(Object(fields)) => {
            out.push_str(&format!("<{name}"));
            for (key, value) in fields.iter().filter(|(key, _)| is_attribute(key)) {
                if let Node::Text(text) = value {
                    out.push_str(&format!(" {key}=\"{}\"", escape(text.as_str())));
                }
            }
            out.push('>');
            fields.iter().filter(|(key, _)| !is_attribute(key)).for_each(|(key, value)| write_xml(key, value, out));
            out.push_str(&format!("</{name}>"));
        }
    }
}

/// `2026-01-01T00:00:00.000Z`
fn date_text(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    format!("{time:.3}")
}

pub fn json(node: &Node) -> Value {
    match node {
        Node::Text(text) => Value::String(text.clone()),
        Node::Date(millis) => Value::from(*millis),
        Node::Repeat(items) => Value::Array(items.iter().map(json).collect()),
        // The key of an empty list is left out.
        Node::List(_, items) if items.is_empty() => Value::Object(Map::new()),
        Node::List(item, items) => {
            Value::Object(Map::from_iter([((*item).to_owned(), Value::Array(items.iter().map(json).collect()))]))
        }
        Node::Object(Object(fields)) => {
            Value::Object(fields.iter().map(|(key, value)| ((*key).to_owned(), json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_has_both_of_the_engines_representations() {
        let nic = Object::resource("/api/nics", "n").text("name", "a<b").text("plugged", true);
        let vm = Object::resource("/api/vms", "v")
            .with("link", Node::Repeat(vec![Node::Object(Object::new().text("href", "/x").text("rel", "nics"))]))
            .list("nics", "nic", vec![nic])
            .date("creation_time", 0);
        let whole = list("vm", vec![vm]);
        assert_eq!(
            xml("vms", &whole).lines().last().unwrap(),
            "<vms><vm href=\"/api/vms/v\" id=\"v\"><link href=\"/x\" rel=\"nics\"></link><nics><nic href=\"/api/nics/n\" \
             id=\"n\"><name>a&lt;b</name><plugged>true</plugged></nic></nics>\
             <creation_time>1970-01-01T00:00:00.000Z</creation_time></vm></vms>"
        );
        assert_eq!(
            json(&whole),
            serde_json::json!({"vm": [{"href": "/api/vms/v", "id": "v", "link": [{"href": "/x", "rel": "nics"}],
                "nics": {"nic": [{"href": "/api/nics/n", "id": "n", "name": "a<b", "plugged": "true"}]}, "creation_time": 0}]})
        );
        assert_eq!(json(&list("vm", Vec::new())), serde_json::json!({}));
    }
}
