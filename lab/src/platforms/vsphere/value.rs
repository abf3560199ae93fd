//! Values as vim25 types them, and their XML.
//!
//! Data objects are built in wire order (reference, appendix A); nothing sorts them later.

use std::fmt::Write as _;

use super::xml::escape;

/// A managed object reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    pub kind: String,
    pub id: String,
}

pub fn mo(kind: &str, id: &str) -> Ref {
    Ref { kind: kind.to_owned(), id: id.to_owned() }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    Str(String),
    Bool(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Time(String),
    /// Type and member.
    Enum(&'static str, String),
    Ref(Ref),
    Obj(Obj),
    /// Element type (`string`, `int`, `ManagedObjectReference` or a data type) and elements.
    Array(&'static str, Vec<Val>),
    /// A member declared `anyType`: its own type must be written.
    Any(Box<Val>),
}

/// A data object: type and members in wire order.
#[derive(Debug, Clone, PartialEq)]
pub struct Obj {
    pub kind: &'static str,
    pub members: Vec<(&'static str, Val)>,
}

pub fn obj(kind: &'static str) -> Obj {
    Obj { kind, members: Vec::new() }
}

impl Obj {
    pub fn set(mut self, name: &'static str, value: impl Into<Val>) -> Self {
        self.members.push((name, value.into()));
        self
    }
    pub fn opt(self, name: &'static str, value: Option<impl Into<Val>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }
    /// A repeated member; without elements it is absent.
    pub fn list(self, name: &'static str, kind: &'static str, values: Vec<Val>) -> Self {
        if values.is_empty() { self } else { self.set(name, Val::Array(kind, values)) }
    }
    pub fn any(self, name: &'static str, value: impl Into<Val>) -> Self {
        let value = Val::Any(Box::new(value.into()));
        self.set(name, value)
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),*) => { $(impl From<$from> for Val {
        fn from(value: $from) -> Self { Self::$variant(value) }
    })* };
}
from!(String => Str, bool => Bool, i16 => Short, i32 => Int, i64 => Long, Ref => Ref, Obj => Obj);

impl From<&str> for Val {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}
impl From<&String> for Val {
    fn from(value: &String) -> Self {
        Self::Str(value.clone())
    }
}

pub fn member(kind: &'static str, value: &str) -> Val {
    Val::Enum(kind, value.to_owned())
}
pub fn time(value: &str) -> Val {
    Val::Time(value.to_owned())
}
pub fn refs(references: impl IntoIterator<Item = Ref>) -> Val {
    Val::Array("ManagedObjectReference", references.into_iter().map(Val::Ref).collect())
}
pub fn objs(kind: &'static str, objects: impl IntoIterator<Item = Obj>) -> Val {
    Val::Array(kind, objects.into_iter().map(Val::Obj).collect())
}
pub fn strings(values: impl IntoIterator<Item = String>) -> Val {
    Val::Array("string", values.into_iter().map(Val::Str).collect())
}

impl Val {
    /// The value at a dotted path below this one; `[key]` picks an element of a keyed array.
    pub fn at(&self, path: &str) -> Option<&Val> {
        if path.is_empty() {
            return Some(self);
        }
        let (segment, rest) = split(path);
        let (name, key) = match segment.split_once('[') {
            Some((name, key)) => (name, Some(key.trim_end_matches(']').trim_matches('"'))),
            None => (segment, None),
        };
        let inner = match self {
            Val::Any(inner) => return inner.at(path),
            Val::Obj(object) => &object.members.iter().find(|(member, _)| *member == name)?.1,
            _ => return None,
        };
        match key {
            Some(key) => inner.keyed(key)?.at(rest),
            None => inner.at(rest),
        }
    }

    /// The element of an array whose `key` is this.
    pub fn keyed(&self, wanted: &str) -> Option<&Val> {
        let Val::Array(_, elements) = self else { return None };
        elements.iter().find(|element| match element.at("key") {
            Some(Val::Int(key)) => key.to_string() == wanted,
            Some(Val::Str(key)) => key == wanted,
            _ => false,
        })
    }

    /// The references that this value holds.
    pub fn references(&self) -> Vec<Ref> {
        match self {
            Val::Ref(reference) => vec![reference.clone()],
            Val::Array(_, elements) => elements.iter().flat_map(Val::references).collect(),
            _ => Vec::new(),
        }
    }

    /// As a value of `anyType`, with its own type.
    pub fn typed_xml(&self, name: &str, out: &mut String) {
        match self {
            Val::Array(kind, elements) => {
                let (first, rest) = kind.split_at(1);
                push(out, &["<", name, " xsi:type=\"ArrayOf", &first.to_ascii_uppercase(), rest, "\">"]);
                elements.iter().for_each(|element| element.element_xml(kind, out));
                push(out, &["</", name, ">"]);
            }
            Val::Any(inner) => inner.typed_xml(name, out),
            other => other.write(name, true, out),
        }
    }

    /// As a member of a data object, whose type the schema knows.
    fn element_xml(&self, name: &str, out: &mut String) {
        match self {
            Val::Array(_, elements) => elements.iter().for_each(|element| element.element_xml(name, out)),
            Val::Any(inner) => inner.typed_xml(name, out),
            other => other.write(name, false, out),
        }
    }

    fn write(&self, name: &str, typed: bool, out: &mut String) {
        let kind = match self {
            Val::Obj(object) => {
                // Declared types are often abstract, and writing the type is always allowed.
                push(out, &["<", name, " xsi:type=\"", object.kind, "\">"]);
                object.members.iter().for_each(|(member, value)| value.element_xml(member, out));
                push(out, &["</", name, ">"]);
                return;
            }
            Val::Ref(reference) => {
                let mark = if typed { " xsi:type=\"ManagedObjectReference\"" } else { "" };
                push(out, &["<", name, " type=\"", &reference.kind, "\"", mark, ">"]);
                push(out, &[&escape(&reference.id), "</", name, ">"]);
                return;
            }
            Val::Str(_) => "xsd:string",
            Val::Bool(_) => "xsd:boolean",
            Val::Short(_) => "xsd:short",
            Val::Int(_) => "xsd:int",
            Val::Long(_) => "xsd:long",
            Val::Time(_) => "xsd:dateTime",
            Val::Enum(kind, _) => kind,
            Val::Array(..) | Val::Any(_) => return,
        };
        if typed {
            push(out, &["<", name, " xsi:type=\"", kind, "\">"]);
        } else {
            push(out, &["<", name, ">"]);
        }
        // Writing to a string does not fail.
        let _ = match self {
            Val::Str(text) => out.write_str(&escape(text)),
            Val::Bool(value) => write!(out, "{value}"),
            Val::Short(value) => write!(out, "{value}"),
            Val::Int(value) => write!(out, "{value}"),
            Val::Long(value) => write!(out, "{value}"),
            Val::Time(value) | Val::Enum(_, value) => out.write_str(value),
            Val::Obj(_) | Val::Ref(_) | Val::Array(..) | Val::Any(_) => Ok(()),
        };
        push(out, &["</", name, ">"]);
    }

    /// The XML of an operation's `returnval`.
    pub fn result_xml(&self) -> String {
        let mut out = String::new();
        self.element_xml("returnval", &mut out);
        out
    }
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

/// First segment and rest of a dotted path; a dot within brackets does not count.
pub fn split(path: &str) -> (&str, &str) {
    let mut depth = 0;
    for (index, character) in path.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            '.' if depth == 0 => return (&path[..index], &path[index + 1..]),
            _ => {}
        }
    }
    (path, "")
}
