//! Which node an instance runs on: pure, and the same answer every time.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::{list, text};

/// The node of an instance. `astray`: the defect that ignores a node selector.
pub fn choose(nodes: &[Value], vmi: &Value, astray: bool) -> Option<String> {
    let able: Vec<&Value> = nodes.iter().filter(|node| is_able(node)).collect();
    let fits = |node: &&&Value| selected(node, vmi) && required_affinity(node, vmi);
    let fitting: Vec<&str> = able.iter().filter(fits).map(|node| text(node, "/metadata/name")).collect();
    let selects = vmi.pointer("/spec/nodeSelector").and_then(Value::as_object).is_some_and(|s| !s.is_empty());
    if astray && selects {
        let other = able.iter().find(|node| !selected(node, vmi)).map(|node| text(node, "/metadata/name").to_owned());
        if other.is_some() {
            return other;
        }
    }
    let mut names = fitting;
    names.sort_unstable();
    let digest =
        Sha256::digest(format!("{}/{}", text(vmi, "/metadata/namespace"), text(vmi, "/metadata/name")).as_bytes());
    names.get(usize::from(digest[0]) % names.len().max(1)).map(|name| (*name).to_owned())
}

/// A ready worker that takes new pods.
fn is_able(node: &Value) -> bool {
    let ready =
        list(node, "/status/conditions").iter().any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True");
    let worker = label(node, "node-role.kubernetes.io/worker").is_some();
    let closed = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
    ready && worker && !closed
}

fn label<'a>(node: &'a Value, key: &str) -> Option<&'a str> {
    node.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str)
}

fn selected(node: &Value, vmi: &Value) -> bool {
    let selector = vmi.pointer("/spec/nodeSelector").and_then(Value::as_object);
    selector.is_none_or(|all| all.iter().all(|(key, value)| label(node, key) == value.as_str()))
}

/// `requiredDuringScheduling…` of the node affinity: any term, all its expressions.
fn required_affinity(node: &Value, vmi: &Value) -> bool {
    let terms =
        list(vmi, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    terms.is_empty() || terms.iter().any(|term| list(term, "/matchExpressions").iter().all(|e| matches(node, e)))
}

fn matches(node: &Value, expression: &Value) -> bool {
    let value = label(node, text(expression, "/key"));
    let among = list(expression, "/values").iter().any(|v| v.as_str() == value && value.is_some());
    match text(expression, "/operator") {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}
