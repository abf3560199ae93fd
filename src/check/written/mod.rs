//! What is *written* in the objects of a migrated VM, compared field by field with what MTV and KubeVirt promise.
//!
//! The records of `api::vm` say what a VM is; here it is asked whether the objects say so too, and nothing else.
//! Pure; knows JSON and the tables beside it.

pub(super) mod claims;
pub(super) mod devices;
pub(super) mod domain;
pub(super) mod identity;
pub(super) mod instance;
pub(super) mod left;
pub(super) mod migration;
pub(super) mod scheduling;
pub(super) mod source;

use serde_json::Value;

use super::{Judgement, failed, not_judged, part, passed, whole};

/// Longest text of a value in a finding.
const SHOWN: usize = 200;

/// The value at a JSON pointer; `null` where there is none.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Nothing is said: not there, or Go's empty value.
fn unsaid(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// A value as a finding shows it, bounded.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.chars().take(SHOWN).collect(),
        other => other.to_string().chars().take(SHOWN).collect(),
    }
}

/// Whether a condition of this kind is `True`.
fn is_so(conditions: &[Value], type_: &str) -> bool {
    conditions.iter().any(|c| text(c, "/type") == type_ && text(c, "/status") == "True")
}

/// What of many comparisons was found wrong, or could not be compared.
#[derive(Default)]
struct Compared {
    wrong: Vec<Judgement>,
    open: Vec<Judgement>,
}

impl Compared {
    fn wrong(&mut self, subject: impl Into<String>, expected: impl Into<String>, actual: impl Into<String>) {
        self.wrong.push(part(subject, failed(expected, actual)));
    }
    fn open(&mut self, subject: impl Into<String>, because: impl Into<String>) {
        self.open.push(part(subject, not_judged(because)));
    }
    /// Must be so.
    fn holds(&mut self, right: bool, subject: &str, expected: &str, actual: impl FnOnce() -> String) {
        if !right {
            self.wrong(subject, expected, actual());
        }
    }
    /// A text must be this one.
    fn same(&mut self, subject: &str, expected: &str, actual: &str) {
        self.holds(expected == actual, subject, expected, || {
            if actual.is_empty() { "nothing".to_owned() } else { actual.to_owned() }
        });
    }
    /// Like [`Self::same`], where the field need not be there.
    fn same_if_said(&mut self, subject: &str, expected: &str, actual: &str) {
        if !actual.is_empty() {
            self.same(subject, expected, actual);
        }
    }
    /// Nothing may stand here.
    fn none(&mut self, subject: &str, value: &Value) {
        self.holds(unsaid(value), subject, "nothing", || shown(value));
    }
    /// Every difference, else what could not be compared, else passed with this text.
    fn judgements(self, fine: impl Into<String>) -> Vec<Judgement> {
        let mut all = self.wrong;
        all.extend(self.open);
        if all.is_empty() { whole(passed(fine)) } else { all }
    }
}
