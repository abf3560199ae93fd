//! Requests as small trees. Read by local name, never by prefix.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// One element.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub name: String,
    /// `xsi:type` without prefix.
    pub xsi_type: Option<String>,
    /// The unprefixed `type` of a reference.
    pub ref_type: Option<String>,
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }
    /// Text of a child; an empty element counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }
    pub fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text == "true" || text == "1")
    }
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.parse().ok())
    }
}

fn open(start: &BytesStart<'_>) -> Node {
    let mut node = Node { name: String::from_utf8_lossy(start.local_name().as_ref()).into_owned(), ..Node::default() };
    for attribute in start.attributes().flatten() {
        if attribute.key.local_name().as_ref() != b"type" {
            continue;
        }
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        if attribute.key.prefix().is_some() {
            node.xsi_type = Some(value.rsplit(':').next().unwrap_or_default().to_owned());
        } else {
            node.ref_type = Some(value);
        }
    }
    node
}

/// The first child of the SOAP body: the method.
pub fn method(body: &str) -> Result<Node, String> {
    let root = parse(body)?;
    let body = root.child("Body").ok_or("the envelope has no Body")?;
    body.children.first().cloned().ok_or_else(|| "the Body is empty".to_owned())
}

fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader::from_str(text);
    let mut open_nodes = vec![Node::default()];
    loop {
        match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(start) => open_nodes.push(open(&start)),
            Event::Empty(start) => {
                if let Some(parent) = open_nodes.last_mut() {
                    parent.children.push(open(&start));
                }
            }
            Event::End(_) => {
                let done = open_nodes.pop().unwrap_or_default();
                match open_nodes.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return Err("an element is closed that was not opened".to_owned()),
                }
            }
            Event::Text(piece) => {
                if let Some(node) = open_nodes.last_mut() {
                    node.text.push_str(&piece.decode().map_err(|e| e.to_string())?);
                }
            }
            Event::CData(piece) => {
                if let Some(node) = open_nodes.last_mut() {
                    node.text.push_str(&String::from_utf8_lossy(&piece));
                }
            }
            Event::GeneralRef(entity) => {
                let name = entity.decode().map_err(|e| e.to_string())?;
                let character = match entity.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&name)
                        .ok_or_else(|| format!("unknown entity &{name};"))?
                        .to_owned(),
                };
                if let Some(node) = open_nodes.last_mut() {
                    node.text.push_str(&character);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match (open_nodes.pop(), open_nodes.is_empty()) {
        (Some(root), true) => root.children.into_iter().next().ok_or_else(|| "no element at all".to_owned()),
        _ => Err("the document ends too early".to_owned()),
    }
}

/// Text fit for an element.
pub fn escape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::escape(text)
}

/// A whole SOAP answer around a body.
pub fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
}
