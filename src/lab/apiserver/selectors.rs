//! Label and field selectors.

use serde_json::Value;

use super::error::ApiError;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

/// A label selector and a field selector, both of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

fn unparsable(text: &str) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: {text:?} is not a selector"))
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|p| !p.is_empty()).collect()
}

fn label_requirement(text: &str) -> Result<Requirement, ApiError> {
    let own = |s: &str| s.trim().to_owned();
    let set = |s: &str| -> Option<Vec<String>> {
        let inner = s.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|v| v.trim().to_owned()).collect())
    };
    let number = |s: &str| s.trim().parse::<i64>().map_err(|_| unparsable(text));
    if let Some((key, values)) = text.split_once(" notin ") {
        return Ok(Requirement::NotIn(own(key), set(values).ok_or_else(|| unparsable(text))?));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return Ok(Requirement::In(own(key), set(values).ok_or_else(|| unparsable(text))?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(own(key), vec![own(value)]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(own(key), vec![own(value)]));
    }
    if let Some((key, value)) = text.split_once('>') {
        return Ok(Requirement::Greater(own(key), number(value)?));
    }
    if let Some((key, value)) = text.split_once('<') {
        return Ok(Requirement::Less(own(key), number(value)?));
    }
    if text.contains([' ', '(', ')']) {
        return Err(unparsable(text));
    }
    Ok(match text.strip_prefix('!') {
        Some(key) => Requirement::Missing(own(key)),
        None => Requirement::Exists(own(text)),
    })
}

impl Requirement {
    fn holds(&self, labels: &Value) -> bool {
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        let number = |key: &str| label(key).and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists(key) => label(key).is_some(),
            Self::Missing(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|n| n > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|n| n < *bound),
        }
    }
}

/// The text of a field at a dotted path; empty when unset, as the API server compares.
fn field(object: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

impl Selector {
    pub fn parse(labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let labels = split(labels.unwrap_or_default()).into_iter().map(label_requirement).collect::<Result<_, _>>()?;
        let fields = split(fields.unwrap_or_default())
            .into_iter()
            .map(|text| {
                let (path, value, equal) = if let Some((path, value)) = text.split_once("!=") {
                    (path, value, false)
                } else if let Some((path, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
                    (path, value, true)
                } else {
                    return Err(ApiError::bad_request(format!(
                        "invalid selector: '{text}'; can't understand '{text}'"
                    )));
                };
                Ok(FieldRequirement { path: path.trim().to_owned(), value: value.trim().to_owned(), equal })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Narrows to one object, as a watch on a single name does.
    pub fn require_name(&mut self, name: &str) {
        self.fields.push(FieldRequirement { path: "metadata.name".to_owned(), value: name.to_owned(), equal: true });
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|r| r.holds(&object["metadata"]["labels"]))
            && self.fields.iter().all(|f| (field(object, &f.path) == f.value) == f.equal)
    }
}
