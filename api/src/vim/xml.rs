//! A small XML tree for answers, and an escaping writer for requests.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use super::MoRef;
use super::envelope::WireError;

/// An element without its namespace prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Local name in `xsi:type`.
    pub xsi_type: Option<String>,
    /// The plain `type` attribute: the kind of a managed object reference.
    pub ref_type: Option<String>,
    /// Character data, as sent.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// First child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }
    /// Every child of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }
    /// Descends through first children: `a/b/c`.
    pub fn at(&self, path: &str) -> Option<&Element> {
        path.split('/').try_fold(self, |here, name| here.child(name))
    }
    /// Text at a path; `None` when absent.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|e| e.text.as_str())
    }
    /// Likewise, parsed; `None` when absent or of another form.
    pub fn parse_at<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text_at(path)?.trim().parse().ok()
    }
    /// A boolean at a path: `true` or `1`.
    pub fn flag_at(&self, path: &str) -> Option<bool> {
        self.at(path).map(Element::flag)
    }
    /// This element's text as a boolean.
    pub fn flag(&self) -> bool {
        matches!(self.text.trim(), "true" | "1")
    }
    /// This element as a managed object reference.
    pub fn moref(&self) -> Option<MoRef> {
        let id = self.text.trim();
        (!id.is_empty()).then(|| MoRef::new(self.ref_type.as_deref().unwrap_or_default(), id))
    }
    /// The reference at a path.
    pub fn moref_at(&self, path: &str) -> Option<MoRef> {
        self.at(path).and_then(Element::moref)
    }
    /// Whether `xsi:type` is `name`.
    pub fn is(&self, name: &str) -> bool {
        self.xsi_type.as_deref() == Some(name)
    }

    /// Parses a document; the root is returned.
    pub fn parse(document: &[u8]) -> Result<Element, WireError> {
        let mut reader = Reader::from_reader(document);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let event = reader.read_event().map_err(|e| WireError::Xml(e.to_string()))?;
            match event {
                Event::Start(start) => open.push(begin(&start)?),
                Event::Empty(start) => {
                    let element = begin(&start)?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(element),
                        None => return Ok(element),
                    }
                }
                Event::End(_) => {
                    let Some(element) = open.pop() else { continue };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(element),
                        None => return Ok(element),
                    }
                }
                Event::Text(text) => {
                    let text = text.xml10_content().map_err(|e| WireError::Xml(e.to_string()))?;
                    push_text(&mut open, &text);
                }
                Event::CData(data) => {
                    let text = data.decode().map_err(|e| WireError::Xml(e.to_string()))?;
                    push_text(&mut open, &text);
                }
                Event::GeneralRef(entity) => {
                    let character = entity.resolve_char_ref().map_err(|e| WireError::Xml(e.to_string()))?;
                    let name = entity.decode().map_err(|e| WireError::Xml(e.to_string()))?;
                    let text = match (character, name.as_ref()) {
                        (Some(c), _) => c.to_string(),
                        (None, "lt") => "<".to_owned(),
                        (None, "gt") => ">".to_owned(),
                        (None, "amp") => "&".to_owned(),
                        (None, "quot") => "\"".to_owned(),
                        (None, "apos") => "'".to_owned(),
                        (None, other) => return Err(WireError::Xml(format!("unknown entity &{other};"))),
                    };
                    push_text(&mut open, &text);
                }
                Event::Eof => return Err(WireError::Xml("the document ends too early".to_owned())),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn begin(start: &BytesStart<'_>) -> Result<Element, WireError> {
    let local = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut element = Element { name: local(start.local_name().as_ref()), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| WireError::Xml(e.to_string()))?;
        if attribute.key.local_name().as_ref() != b"type" {
            continue;
        }
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        // Prefixes vary with the server; only `xsi:type` has one among the two.
        if attribute.key.prefix().is_some() {
            element.xsi_type = Some(value.rsplit(':').next().unwrap_or_default().to_owned());
        } else {
            element.ref_type = Some(value);
        }
    }
    Ok(element)
}

/// Writes XML with every text escaped.
#[derive(Debug, Default)]
pub struct Writer(String);

impl Writer {
    pub fn finish(self) -> String {
        self.0
    }
    /// `<name>text</name>`
    pub fn text(&mut self, name: &str, text: impl std::fmt::Display) -> &mut Self {
        let text = text.to_string();
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(text.as_str())));
        self
    }
    /// Likewise when there is one.
    pub fn maybe(&mut self, name: &str, text: Option<impl std::fmt::Display>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }
    /// `<name type="Kind">id</name>`
    pub fn moref(&mut self, name: &str, object: &MoRef) -> &mut Self {
        self.0.push_str(&format!(
            "<{name} type=\"{}\">{}</{name}>",
            escape(object.kind.as_str()),
            escape(object.id.as_str())
        ));
        self
    }
    pub fn maybe_moref(&mut self, name: &str, object: Option<&MoRef>) -> &mut Self {
        if let Some(object) = object {
            self.moref(name, object);
        }
        self
    }
    /// `<name>…</name>`
    pub fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push_str(&format!("<{name}>"));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
        self
    }
    /// `<name xsi:type="kind">…</name>`
    pub fn typed(&mut self, name: &str, kind: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push_str(&format!("<{name} xsi:type=\"{}\">", escape(kind)));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
        self
    }
    /// `<name xsi:type="kind">text</name>`
    pub fn typed_text(&mut self, name: &str, kind: &str, text: &str) -> &mut Self {
        self.0.push_str(&format!("<{name} xsi:type=\"{}\">{}</{name}>", escape(kind), escape(text)));
        self
    }
    /// An element that a server sent, sent back as it was.
    pub fn element(&mut self, element: &Element) -> &mut Self {
        let mut head = element.name.clone();
        if let Some(kind) = &element.ref_type {
            head.push_str(&format!(" type=\"{}\"", escape(kind.as_str())));
        }
        if let Some(kind) = &element.xsi_type {
            head.push_str(&format!(" xsi:type=\"{}\"", escape(kind.as_str())));
        }
        self.0.push_str(&format!("<{head}>"));
        if element.children.is_empty() {
            self.0.push_str(&escape(element.text.as_str()));
        } else {
            for child in &element.children {
                self.element(child);
            }
        }
        self.0.push_str(&format!("</{}>", element.name));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_any_kind_are_ignored() {
        let xml = br#"<a:x xmlns:a="urn:vim25"><val xmlns:_XMLSchema-instance="i" type="HostSystem" _XMLSchema-instance:type="ManagedObjectReference">host-1</val><v xmlns:q="z" q:type="xsd:string">t</v></a:x>"#;
        let root = Element::parse(xml).unwrap();
        assert_eq!(root.name, "x");
        assert_eq!(root.moref_at("val"), Some(MoRef::new("HostSystem", "host-1")));
        assert!(root.child("val").unwrap().is("ManagedObjectReference"));
        assert!(root.child("v").unwrap().is("string"));
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_text() {
        for text in ["a<b>&\"c'", "x &amp; y", "ü\u{1F600}", ""] {
            let mut writer = Writer::default();
            writer.node("r", |w| {
                w.text("t", text);
            });
            assert_eq!(Element::parse(writer.finish().as_bytes()).unwrap().text_at("t"), Some(text));
        }
    }

    #[test]
    fn a_torn_document_is_an_error() {
        assert!(Element::parse(b"<a><b>").is_err());
        assert!(Element::parse(b"").is_err());
        assert!(Element::parse(b"<a>&nope;</a>").is_err());
    }
}
