//! Label and field selectors, read as the real server reads them, its error messages included.

use serde_json::Value;

use super::error::ApiError;
use super::resources::ResourceDef;
use super::validate;

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

/// Splits a selector into words and operators; the end is an empty token.
fn tokens(text: &str) -> Vec<String> {
    let special = |c: char| "=!(),><".contains(c);
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if special(first) {
            if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 }
        } else {
            rest.find(|c: char| special(c) || c.is_whitespace()).unwrap_or(rest.len())
        };
        let (token, after) = rest.split_at(length);
        found.push(token.to_owned());
        rest = after.trim_start();
    }
    found
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(['=', '!', '(', ')', ',', '>', '<'])
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }
    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn all(mut self) -> Result<Vec<Requirement>, String> {
        let mut found = Vec::new();
        loop {
            match self.peek() {
                "" => return Ok(found),
                token if is_word(token) || token == "!" => {
                    let one = self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                    found.push(one);
                    match self.next().as_str() {
                        "" => return Ok(found),
                        "," => {
                            let after = self.peek();
                            if !is_word(after) && after != "!" {
                                return Err(format!("found '{after}', expected: identifier after ','"));
                            }
                        }
                        other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
                    }
                }
                other => return Err(format!("found '{other}', expected: !, identifier, or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut key = self.next();
        let missing = key == "!";
        if missing {
            key = self.next();
        }
        if !is_word(&key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        if let Some(why) = validate::qualified_name(&key) {
            return Err(format!("<nil>: Invalid value: \"{key}\": {why}"));
        }
        if missing {
            return Ok(Requirement::Missing(key));
        }
        if matches!(self.peek(), "" | ",") {
            return Ok(Requirement::Exists(key));
        }
        let operator = self.next();
        let requirement = match operator.as_str() {
            "in" => Requirement::In(key, self.values()?),
            "notin" => Requirement::NotIn(key, self.values()?),
            "=" | "==" => Requirement::In(key, vec![self.value()?]),
            "!=" => Requirement::NotIn(key, vec![self.value()?]),
            ">" => Requirement::Greater(key, self.number()?),
            "<" => Requirement::Less(key, self.number()?),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        if let Requirement::In(key, values) | Requirement::NotIn(key, values) = &requirement {
            for (at, value) in values.iter().enumerate() {
                if let Some(why) = validate::label_value(value) {
                    return Err(format!("values[{at}][{key}]: Invalid value: \"{value}\": {why}"));
                }
            }
        }
        Ok(requirement)
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), "" | ",") {
            return Ok(String::new());
        }
        let token = self.next();
        if is_word(&token) { Ok(token) } else { Err(format!("found '{token}', expected: identifier")) }
    }

    fn number(&mut self) -> Result<i64, String> {
        let value = self.value()?;
        value.parse().map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned())
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut found = Vec::new();
        if self.peek() == ")" {
            self.at += 1;
            return Ok(vec![String::new()]);
        }
        loop {
            let token = self.next();
            if is_word(&token) {
                found.push(token);
                match self.next().as_str() {
                    "," if self.peek() == ")" => {
                        self.at += 1;
                        found.push(String::new());
                        return Ok(found);
                    }
                    "," => {}
                    ")" => return Ok(found),
                    other => return Err(format!("found '{other}', expected: ',' or ')'")),
                }
            } else if token == "," {
                found.push(String::new());
            } else {
                return Err(format!("found '{token}', expected: ',', ')' or identifier"));
            }
        }
    }
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

/// Whether a `LabelSelector`, as objects carry it, takes these labels; an empty one takes all.
pub(super) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| &labels[key] == value);
    let rules = selector["matchExpressions"].as_array().into_iter().flatten();
    equal
        && rules.into_iter().all(|rule| {
            let key = rule["key"].as_str().unwrap_or_default().to_owned();
            let values = rule["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let values: Vec<String> = values.map(str::to_owned).collect();
            let requirement = match rule["operator"].as_str().unwrap_or_default() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "DoesNotExist" => Requirement::Missing(key),
                _ => Requirement::Exists(key),
            };
            requirement.holds(labels)
        })
}

/// The text of a field at a dotted path; empty when unset, as the API server compares.
fn field(object: &Value, path: &str) -> String {
    // The newer form of events asks by its own names.
    let path = path.replace("regarding.", "involvedObject.");
    if path == "spec.unschedulable" && object["spec"]["unschedulable"].is_null() {
        return "false".to_owned();
    }
    let found = path.split('.').try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn field_requirement(def: &ResourceDef, text: &str) -> Result<FieldRequirement, ApiError> {
    let (path, value, equal) = if let Some((path, value)) = text.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (path, value, true)
    } else {
        return Err(ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{text}'")));
    };
    let path = path.trim();
    if !matches!(path, "metadata.name" | "metadata.namespace") && !def.selectable.iter().any(|s| s == path) {
        return Err(ApiError::bad_request(if def.selectable.is_empty() {
            format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        } else {
            format!("field label not supported: {path}")
        }));
    }
    Ok(FieldRequirement { path: path.to_owned(), value: value.trim().to_owned(), equal })
}

impl Selector {
    pub fn parse(def: &ResourceDef, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let parser = Parser { tokens: tokens(labels.unwrap_or_default()), at: 0 };
        let labels = parser.all().map_err(ApiError::bad_request)?;
        let fields = fields.unwrap_or_default().split(',').map(str::trim).filter(|f| !f.is_empty());
        let fields = fields.map(|text| field_requirement(def, text)).collect::<Result<_, _>>()?;
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
