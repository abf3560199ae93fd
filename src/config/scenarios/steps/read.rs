//! How steps are written: the short forms, words for a step that nobody knows, and the schema of both.
//!
//! `- migrate` and `- delete: plan` become `{migrate: {}}` and `{delete: {what: plan}}` before anything is typed, each at
//! its line. Knows the names from the schema of [`super::Step`].

use serde_json::{Value, json};

use crate::config::errors::hint;
use crate::config::node::{Data, Entry, Node};
use crate::config::schema::views;

/// Of a step that is written as `name: value`: the argument that the value is.
const MAIN: &[(&str, &str)] = &[
    ("validate", "condition"),
    ("wait", "for"),
    ("cutover", "at"),
    ("expect", "ended"),
    ("delete", "what"),
    ("power", "state"),
    ("kill", "what"),
    ("fault", "what"),
    ("snapshot", "name"),
    ("run", "command"),
    ("read-marker", "command"),
];

/// Schema of a step, in its long form.
pub(crate) fn schema() -> Value {
    schemars::schema_for!(super::Step).to_value()
}

/// Every step's name, in the order of the table.
pub(super) fn names() -> Vec<String> {
    alternatives(&schema()).iter().filter_map(|one| name_of(one).map(str::to_owned)).collect()
}

fn alternatives(step: &Value) -> Vec<&Value> {
    step.get("oneOf").and_then(Value::as_array).into_iter().flatten().collect()
}

/// The step that an alternative of the schema is about.
fn name_of(alternative: &Value) -> Option<&str> {
    alternative.get("properties")?.as_object()?.keys().next().map(String::as_str)
}

/// Gives every step of a scenario its long form.
pub(crate) fn normalise(scenario: &mut Node) {
    let Data::Map(entries) = &mut scenario.data else { return };
    let Some(steps) = entries.iter_mut().find(|entry| entry.key == "steps") else { return };
    let Data::Seq(steps) = &mut steps.node.data else { return };
    for step in steps {
        let line = step.line;
        match &mut step.data {
            Data::Scalar(Value::String(name)) => {
                let node = Node { line, data: Data::Map(Vec::new()) };
                step.data = Data::Map(vec![Entry { key: std::mem::take(name), line, node }]);
            }
            Data::Map(entries) => entries.iter_mut().for_each(|entry| lengthen(&entry.key, &mut entry.node)),
            Data::Scalar(_) | Data::Seq(_) => {}
        }
    }
}

fn lengthen(name: &str, arguments: &mut Node) {
    let line = arguments.line;
    let Data::Scalar(value) = &mut arguments.data else { return };
    let value = value.take();
    let main = MAIN.iter().find(|(step, _)| *step == name).map(|(_, main)| *main);
    arguments.data = match (main, value) {
        (_, Value::Null) => Data::Map(Vec::new()),
        (Some(main), value) => {
            Data::Map(vec![Entry { key: main.to_owned(), line, node: Node { line, data: Data::Scalar(value) } }])
        }
        (None, value) => Data::Scalar(value),
    };
}

/// What to say of an unknown key inside `steps`; `None`: it is none of a step's.
pub(crate) fn unknown(path: &[String]) -> Option<String> {
    let [steps, place, name, rest @ ..] = path else { return None };
    if steps != "steps" {
        return None;
    }
    let number = place.parse::<usize>().map_or_else(|_| place.clone(), |place| (place + 1).to_string());
    let known = names();
    Some(match rest.last() {
        None => {
            let near = hint(name, known.iter().map(String::as_str), "");
            let near = if near.is_empty() { format!("; known are {}", known.join(", ")) } else { near };
            format!("step {number}: there is no step `{name}`{near}")
        }
        Some(argument) => {
            let near = hint(argument, arguments(name, rest).iter().map(String::as_str), "");
            format!("step {number}: `{}` is no argument of `{name}`{near}", rest.join("."))
        }
    })
}

/// The arguments that `name` has where the last of `path` stands.
fn arguments(name: &str, path: &[String]) -> Vec<String> {
    let root = schema();
    let mut here = alternatives(&root)
        .into_iter()
        .find_map(|one| one.pointer(&format!("/properties/{name}")))
        .cloned()
        .unwrap_or_default();
    for key in path.iter().take(path.len().saturating_sub(1)) {
        let inner =
            views(&root, &here).into_iter().find_map(|view| view.pointer(&format!("/properties/{key}"))).cloned();
        here = inner.unwrap_or_default();
    }
    let views = views(&root, &here).into_iter();
    views.filter_map(|view| view.get("properties")?.as_object()).flat_map(|all| all.keys()).cloned().collect()
}

/// Adds the short forms to the schema of scenario files.
pub(crate) fn extend(schema: &mut Value) {
    let Some(step) = schema.pointer_mut("/$defs/Step") else { return };
    let known: Vec<Value> = alternatives(step).iter().filter_map(|one| name_of(one)).map(Value::from).collect();
    for alternative in step.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(properties) = alternative.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (name, arguments) in properties {
            let long = std::mem::take(arguments);
            let mut forms = vec![long, json!({"type": "null"})];
            if MAIN.iter().any(|(step, _)| step == name) {
                forms.push(json!({"type": "string"}));
            }
            *arguments = json!({"anyOf": forms});
        }
    }
    let description = step.get("description").cloned().unwrap_or_default();
    let long = std::mem::take(step);
    *step = json!({"description": description, "anyOf": [{"type": "string", "enum": known}, long]});
}
