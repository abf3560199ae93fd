//! What a client sends, XML or JSON, as one tree.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

/// An element: attributes and children alike are fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    pub value: String,
    fields: Vec<(String, Body)>,
}

impl Body {
    /// Of a request; `None` when it is neither.
    pub fn parse(bytes: &[u8], is_json: bool) -> Option<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Some(Self::default());
        }
        if is_json {
            serde_json::from_slice(bytes).ok().map(|value| Self::of_json(&value))
        } else {
            Self::of_xml(bytes)
        }
    }

    pub fn at(&self, path: &str) -> Option<&Body> {
        path.split('/')
            .try_fold(self, |here, name| here.fields.iter().find(|(key, _)| key == name).map(|(_, body)| body))
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Body> {
        self.fields.iter().filter(move |(key, _)| key == name).map(|(_, body)| body)
    }

    /// Text at a path that is not empty.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path).map(|body| body.value.trim()).filter(|text| !text.is_empty())
    }

    pub fn flag(&self, path: &str) -> Option<bool> {
        self.text(path).map(|text| matches!(text.to_lowercase().as_str(), "true" | "1"))
    }

    fn of_json(value: &Value) -> Self {
        let mut body = Self::default();
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::Array(items) => {
                            body.fields.extend(items.iter().map(|item| (key.clone(), Self::of_json(item))));
                        }
                        other => body.fields.push((key.clone(), Self::of_json(other))),
                    }
                }
            }
            Value::String(text) => body.value.clone_from(text),
            Value::Null => {}
            other => body.value = other.to_string(),
        }
        body
    }

    /// The fields of the root element.
    fn of_xml(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_reader(bytes);
        let mut open: Vec<(String, Body)> = Vec::new();
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => open.push(begin(&start)?),
                Event::Empty(start) => {
                    let element = begin(&start)?;
                    match open.last_mut() {
                        Some((_, parent)) => parent.fields.push(element),
                        None => return Some(element.1),
                    }
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    match open.last_mut() {
                        Some((_, parent)) => parent.fields.push(element),
                        None => return Some(element.1),
                    }
                }
                Event::Text(text) => open.last_mut()?.1.value.push_str(&text.xml10_content().ok()?),
                Event::GeneralRef(entity) => {
                    let character = match (entity.resolve_char_ref().ok()?, entity.decode().ok()?.as_ref()) {
                        (Some(character), _) => character,
                        (None, "lt") => '<',
                        (None, "gt") => '>',
                        (None, "amp") => '&',
                        (None, "quot") => '"',
                        (None, "apos") => '\'',
                        (None, _) => return None,
                    };
                    open.last_mut()?.1.value.push(character);
                }
                Event::Eof => return None,
                _ => {}
            }
        }
    }
}

fn begin(start: &BytesStart<'_>) -> Option<(String, Body)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut body = Body::default();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let value = quick_xml::escape::unescape(std::str::from_utf8(&attribute.value).ok()?).ok()?.into_owned();
        body.fields.push((text(attribute.key.local_name().as_ref()), Body { value, fields: Vec::new() }));
    }
    Some((text(start.local_name().as_ref()), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_and_json_of_the_same_request_are_read_alike() {
        let xml = br#"<vm><name>a &amp; b</name><cluster id="C"/><disk_attachments><disk_attachment><disk id="D"/></disk_attachment></disk_attachments></vm>"#;
        let json =
            br#"{"name":"a & b","cluster":{"id":"C"},"disk_attachments":{"disk_attachment":[{"disk":{"id":"D"}}]}}"#;
        let (xml, json) = (Body::parse(xml, false).unwrap(), Body::parse(json, true).unwrap());
        assert_eq!(xml, json);
        assert_eq!(xml.text("cluster/id"), Some("C"));
        assert_eq!(xml.text("disk_attachments/disk_attachment/disk/id"), Some("D"));
        assert_eq!(Body::parse(b"<action/>", false), Some(Body::default()));
        assert_eq!(Body::parse(b"", true), Some(Body::default()));
        assert_eq!(Body::parse(b"<vm><name>", false), None);
    }
}
