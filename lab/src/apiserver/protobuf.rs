//! Kubernetes' protobuf bodies, as far as kubectl sends them: decoded to the same JSON that other
//! clients send. Answers stay JSON; clients decode by `Content-Type`. Knows the wire format and the
//! few fields listed here, and skips every other field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What every encoded object starts with; a `runtime.Unknown` follows.
const MAGIC: &[u8] = b"k8s\0";

enum Shape {
    Text,
    /// Base64 in JSON.
    Bytes,
    Bool,
    Number,
    Texts,
    Message(&'static [Field]),
    Messages(&'static [Field]),
    /// A number or a text, as ports and quantities are.
    IntOrString,
    /// Text keys; the values have the shape.
    Map(&'static Shape),
}
use Shape::{Bool, Bytes, IntOrString, Message, Messages, Number, Text, Texts};

/// Number and JSON name.
struct Field(u64, &'static str, Shape);

const META: &[Field] = &[
    Field(1, "name", Text),
    Field(2, "generateName", Text),
    Field(3, "namespace", Text),
    Field(11, "labels", Shape::Map(&Text)),
    Field(12, "annotations", Shape::Map(&Text)),
];
const ONLY_META: &[Field] = &[Field(1, "metadata", Message(META))];
const SECRET: &[Field] = &[
    Field(1, "metadata", Message(META)),
    Field(2, "data", Shape::Map(&Bytes)),
    Field(3, "type", Text),
    Field(4, "stringData", Shape::Map(&Text)),
    Field(5, "immutable", Bool),
];
const CONFIG_MAP: &[Field] = &[
    Field(1, "metadata", Message(META)),
    Field(2, "data", Shape::Map(&Text)),
    Field(3, "binaryData", Shape::Map(&Bytes)),
    Field(4, "immutable", Bool),
];
const RESOURCE: &[Field] = &[
    Field(1, "namespace", Text),
    Field(2, "verb", Text),
    Field(3, "group", Text),
    Field(4, "version", Text),
    Field(5, "resource", Text),
    Field(6, "subresource", Text),
    Field(7, "name", Text),
];
const PATH: &[Field] = &[Field(1, "path", Text), Field(2, "verb", Text)];
const ACCESS: &[Field] =
    &[Field(1, "resourceAttributes", Message(RESOURCE)), Field(2, "nonResourceAttributes", Message(PATH))];
const ACCESS_REVIEW: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(ACCESS))];
const RULES: &[Field] = &[Field(1, "namespace", Text)];
const RULES_REVIEW: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(RULES))];
const PRECONDITIONS: &[Field] = &[Field(1, "uid", Text), Field(2, "resourceVersion", Text)];
const DELETE_OPTIONS: &[Field] = &[
    Field(1, "gracePeriodSeconds", Number),
    Field(2, "preconditions", Message(PRECONDITIONS)),
    Field(3, "orphanDependents", Bool),
    Field(4, "propagationPolicy", Text),
    Field(5, "dryRun", Texts),
];
const TYPE_META: &[Field] = &[Field(1, "apiVersion", Text), Field(2, "kind", Text)];

const RULE: &[Field] = &[
    Field(1, "verbs", Texts),
    Field(2, "apiGroups", Texts),
    Field(3, "resources", Texts),
    Field(4, "resourceNames", Texts),
    Field(5, "nonResourceURLs", Texts),
];
const ROLE: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "rules", Messages(RULE))];
const SUBJECT: &[Field] =
    &[Field(1, "kind", Text), Field(2, "apiGroup", Text), Field(3, "name", Text), Field(4, "namespace", Text)];
const ROLE_REF: &[Field] = &[Field(1, "apiGroup", Text), Field(2, "kind", Text), Field(3, "name", Text)];
const BINDING: &[Field] = &[
    Field(1, "metadata", Message(META)),
    Field(2, "subjects", Messages(SUBJECT)),
    Field(3, "roleRef", Message(ROLE_REF)),
];
const PORT: &[Field] = &[
    Field(1, "name", Text),
    Field(2, "hostPort", Number),
    Field(3, "containerPort", Number),
    Field(4, "protocol", Text),
];
const ENV: &[Field] = &[Field(1, "name", Text), Field(2, "value", Text)];
const QUANTITY: &[Field] = &[Field(1, "string", Text)];
const RESOURCES: &[Field] =
    &[Field(1, "limits", Shape::Map(&Message(QUANTITY))), Field(2, "requests", Shape::Map(&Message(QUANTITY)))];
const CONTAINER: &[Field] = &[
    Field(1, "name", Text),
    Field(2, "image", Text),
    Field(3, "command", Texts),
    Field(4, "args", Texts),
    Field(5, "workingDir", Text),
    Field(6, "ports", Messages(PORT)),
    Field(7, "env", Messages(ENV)),
    Field(8, "resources", Message(RESOURCES)),
    Field(14, "imagePullPolicy", Text),
];
const POD_SPEC: &[Field] = &[
    Field(2, "containers", Messages(CONTAINER)),
    Field(3, "restartPolicy", Text),
    Field(4, "terminationGracePeriodSeconds", Number),
    Field(7, "nodeSelector", Shape::Map(&Text)),
    Field(8, "serviceAccountName", Text),
    Field(10, "nodeName", Text),
    Field(20, "initContainers", Messages(CONTAINER)),
];
const POD: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(POD_SPEC))];
const LABELS: &[Field] = &[Field(1, "matchLabels", Shape::Map(&Text))];
const DEPLOYMENT_SPEC: &[Field] =
    &[Field(1, "replicas", Number), Field(2, "selector", Message(LABELS)), Field(3, "template", Message(POD))];
const DEPLOYMENT: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(DEPLOYMENT_SPEC))];
const JOB_SPEC: &[Field] = &[
    Field(1, "parallelism", Number),
    Field(2, "completions", Number),
    Field(3, "activeDeadlineSeconds", Number),
    Field(4, "selector", Message(LABELS)),
    Field(6, "template", Message(POD)),
    Field(7, "backoffLimit", Number),
];
const JOB: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(JOB_SPEC))];
const SERVICE_PORT: &[Field] = &[
    Field(1, "name", Text),
    Field(2, "protocol", Text),
    Field(3, "port", Number),
    Field(4, "targetPort", IntOrString),
    Field(5, "nodePort", Number),
];
const SERVICE_SPEC: &[Field] = &[
    Field(1, "ports", Messages(SERVICE_PORT)),
    Field(2, "selector", Shape::Map(&Text)),
    Field(3, "clusterIP", Text),
    Field(4, "type", Text),
];
const SERVICE: &[Field] = &[Field(1, "metadata", Message(META)), Field(2, "spec", Message(SERVICE_SPEC))];

fn fields_of(kind: &str) -> Option<&'static [Field]> {
    Some(match kind {
        "Namespace" | "ServiceAccount" | "SelfSubjectReview" => ONLY_META,
        "Role" | "ClusterRole" => ROLE,
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "Pod" => POD,
        "Deployment" => DEPLOYMENT,
        "Job" => JOB,
        "Service" => SERVICE,
        "Secret" => SECRET,
        "ConfigMap" => CONFIG_MAP,
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectRulesReview" => RULES_REVIEW,
        "DeleteOptions" => DELETE_OPTIONS,
        _ => return None,
    })
}

/// Why a body was not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    /// A kind that the lab takes only as JSON or YAML.
    Kind(String),
}

/// The object of a body as JSON, with `apiVersion` and `kind`.
pub(super) fn decode(body: &[u8]) -> Result<Value, Refusal> {
    let body = body.strip_prefix(MAGIC).ok_or(Refusal::Malformed)?;
    let (mut head, mut raw) = (Map::new(), &[][..]);
    for (number, wire) in split(body).ok_or(Refusal::Malformed)? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => head = message(bytes, TYPE_META).ok_or(Refusal::Malformed)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let kind = head.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let fields = fields_of(&kind).ok_or(Refusal::Kind(kind))?;
    head.extend(message(raw, fields).ok_or(Refusal::Malformed)?);
    Ok(Value::Object(head))
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers: no field here has one.
    Other,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

/// A message as its fields, in order; `None` when it ends too early.
fn split(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Wire::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Wire::Other)?,
            _ => return None,
        };
        found.push((tag >> 3, wire));
    }
    Some(found)
}

fn message(bytes: &[u8], fields: &[Field]) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for (number, wire) in split(bytes)? {
        let Some(Field(_, name, shape)) = fields.iter().find(|f| f.0 == number) else { continue };
        match (shape, wire) {
            (Shape::Map(of), Wire::Bytes(entry)) => {
                let (mut key, mut value) = (String::new(), scalar(of, &Wire::Bytes(&[]))?);
                for (number, wire) in split(entry)? {
                    match (number, &wire) {
                        (1, Wire::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
                        (2, _) => value = scalar(of, &wire)?,
                        _ => {}
                    }
                }
                object.entry(*name).or_insert_with(|| json!({})).as_object_mut()?.insert(key, value);
            }
            (Texts, wire) => {
                let value = scalar(&Text, &wire)?;
                object.entry(*name).or_insert_with(|| json!([])).as_array_mut()?.push(value);
            }
            (Messages(fields), Wire::Bytes(bytes)) => {
                let value = Value::Object(message(bytes, fields)?);
                object.entry(*name).or_insert_with(|| json!([])).as_array_mut()?.push(value);
            }
            (shape, wire) => {
                let value = scalar(shape, &wire)?;
                // Go writes empty strings out; JSON clients leave them away.
                if value != json!("") {
                    object.insert((*name).to_owned(), value);
                }
            }
        }
    }
    Some(object)
}

fn scalar(shape: &Shape, wire: &Wire<'_>) -> Option<Value> {
    Some(match (shape, wire) {
        (Text, Wire::Bytes(bytes)) => json!(std::str::from_utf8(bytes).ok()?),
        (Bytes, Wire::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        // A quantity is a message around its text.
        (Message(fields), Wire::Bytes(bytes)) if std::ptr::eq(*fields, QUANTITY) => {
            message(bytes, fields)?.shift_remove("string").unwrap_or_default()
        }
        (Message(fields), Wire::Bytes(bytes)) => Value::Object(message(bytes, fields)?),
        (IntOrString, Wire::Bytes(bytes)) => {
            const PARTS: &[Field] = &[Field(1, "type", Number), Field(2, "number", Number), Field(3, "text", Text)];
            let mut parts = message(bytes, PARTS)?;
            let text = parts.get("type") == Some(&json!(1));
            parts.shift_remove(if text { "text" } else { "number" }).unwrap_or_default()
        }
        (Bool, Wire::Number(number)) => json!(*number != 0),
        (Number, Wire::Number(number)) => json!(number.cast_signed()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut all = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        all.extend(bytes);
        all
    }
    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let head = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &head), field(2, raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn a_secret_becomes_the_json_that_other_clients_send() {
        let label = [field(1, b"app"), field(2, b"x")].concat();
        let meta = [field(1, b"s"), field(2, b""), field(3, b"ns"), field(11, &label), vec![7 << 3, 0]].concat();
        let data = [field(1, b"k"), field(2, &[0, 255])].concat();
        let raw = [field(1, &meta), field(2, &data), field(3, b"Opaque")].concat();
        assert_eq!(
            decode(&body("Secret", &raw)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "AP8="},
                "metadata": {"name": "s", "namespace": "ns", "labels": {"app": "x"}},
            })
        );
    }

    #[test]
    fn delete_options_keep_numbers_and_policies() {
        let raw = [vec![1 << 3, 30], field(4, b"Foreground"), field(5, b"All")].concat();
        let options = decode(&body("DeleteOptions", &raw)).unwrap();
        assert_eq!(options["gracePeriodSeconds"], 30);
        assert_eq!(options["propagationPolicy"], "Foreground");
        assert_eq!(options["dryRun"], json!(["All"]));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(decode(b"{}"), Err(Refusal::Malformed));
        let whole = body("Secret", &field(1, &field(1, b"s")));
        assert_eq!(decode(&whole[..12]), Err(Refusal::Malformed));
        assert_eq!(decode(&body("Node", b"")), Err(Refusal::Kind("Node".to_owned())));
    }
}
