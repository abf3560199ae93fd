//! Scenario keys of the Python suite that have no type here: one table.
//!
//! A key that has no effect is told; one that a step can do becomes that step; a value that asks for something that is not
//! there skips its scenario, with the reason. Source: peer.md §1.3.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::errors::nearest;
use super::node::{Data, Node};
use super::platforms::Platform;

/// Keys of a scenario without effect, and what to write instead.
const IDLE: &[(&str, &str)] = &[("inventory_timeout", "set `timeouts.inventory`")];

/// What the suite's keys of a scenario come to.
#[derive(Default)]
pub(crate) struct Asked {
    /// Reasons to skip it.
    pub not_built: Vec<String>,
    /// Keys without effect: path and sentence.
    pub idle: Vec<(Vec<String>, String)>,
    /// `pvc_name_template` where it is written by platform.
    pub pvc_name_templates: BTreeMap<String, String>,
}

/// Takes the suite's keys out of a scenario.
pub(crate) fn scenario(node: &mut Node) -> Asked {
    let mut out = Asked::default();
    for (name, instead) in IDLE {
        if node.take(name).is_some_and(|entry| !entry.node.is_null()) {
            out.idle.push((vec![(*name).to_owned()], format!("`{name}` has no effect; {instead}")));
        }
    }
    templates(node, &mut out);
    xfs_check(node, &mut out);
    out.not_built.dedup();
    out
}

fn data<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Data> {
    let Data::Map(entries) = &mut node.data else { return None };
    entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.node.data)
}

/// The suite's check of a file system: a command, where it is mounted, and what the output must hold.
const XFS_CHECK: &str = "xfs_check";
const XFS_CHECK_KEYS: [&str; 3] = ["command", "mount_point", "expected_output"];

/// `xfs_check` is a `run` step at the end of the story.
fn xfs_check(node: &mut Node, out: &mut Asked) {
    let Some(entry) = node.take(XFS_CHECK).filter(|entry| !entry.node.is_null()) else { return };
    let texts = XFS_CHECK_KEYS.map(|key| match entry.node.get(key).map(Node::to_json) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    });
    let [Some(command), Some(mount), Some(expected)] = texts else {
        out.not_built
            .push(format!("`{XFS_CHECK}` needs the texts {}", XFS_CHECK_KEYS.map(|k| format!("`{k}`")).join(", ")));
        return;
    };
    let step = json!({"run": {"command": format!("{command} {mount}"), "output": regex::escape(&expected)}});
    let step = Node { line: entry.line, ..Node::from_json(step) };
    match data(node, "steps") {
        Some(Data::Seq(steps)) => steps.push(step),
        // A story that is wrong is told as that.
        Some(_) => {}
        None => {
            let told = ["migrate", "verify"].map(|step| Node::scalar(step.into()));
            let steps = told.into_iter().chain([step]).collect();
            node.put(&["steps"], entry.line, Node { line: entry.line, data: Data::Seq(steps) });
        }
    }
}

/// The word for every platform without a template of its own.
const DEFAULT: &str = "default";

/// `pvc_name_template: {vsphere: …, default: …}`.
fn templates(node: &mut Node, out: &mut Asked) {
    if !matches!(node.get("pvc_name_template").map(|n| &n.data), Some(Data::Map(_))) {
        return;
    }
    let Some(entry) = node.take("pvc_name_template") else { return };
    let known: Vec<&str> = Platform::ALL.iter().map(|p| p.name()).chain([DEFAULT]).collect();
    for inner in entry.node.entries() {
        match inner.node.to_json() {
            Value::String(template) if known.contains(&inner.key.as_str()) => {
                out.pvc_name_templates.insert(inner.key.clone(), template);
            }
            Value::String(_) => {
                let near = nearest(&inner.key, known.iter().copied());
                let hint = near.map(|k| format!("; did you mean `{k}`?")).unwrap_or_default();
                out.not_built.push(format!("`pvc_name_template` names `{}`, which is no platform{hint}", inner.key));
            }
            _ => out.not_built.push(format!("`pvc_name_template.{}` is not a text", inner.key)),
        }
    }
}

/// The template that a scenario with templates by platform has for one.
pub fn template_for(templates: &BTreeMap<String, String>, platform: Platform) -> Option<&String> {
    templates.get(platform.name()).or_else(|| templates.get(DEFAULT))
}

/// Adds the suite's keys to the schema of scenario files.
pub(crate) fn extend(schema: &mut Value) {
    if let Some(properties) = schema.pointer_mut("/$defs/Scenario/properties").and_then(Value::as_object_mut) {
        for (name, instead) in IDLE {
            let text = format!("No effect; {instead}.");
            properties.insert((*name).to_owned(), json!({"description": text, "deprecated": true}));
        }
    }
    if let Some(properties) = schema.pointer_mut("/$defs/Scenario/properties").and_then(Value::as_object_mut) {
        let keys: serde_json::Map<String, Value> =
            XFS_CHECK_KEYS.iter().map(|key| ((*key).to_owned(), json!({"type": "string"}))).collect();
        let text = "A `run` step at the end of the story: the command with the mount point, whose output holds a text.";
        let check = json!({"description": text, "type": "object", "properties": keys, "additionalProperties": false});
        properties.insert(XFS_CHECK.to_owned(), check);
    }
    if let Some(template) = schema.pointer_mut("/$defs/Scenario/properties/pvc_name_template") {
        let own = std::mem::take(template);
        *template = json!({"anyOf": [own, {"type": "object", "additionalProperties": {"type": "string"}}]});
    }
}
