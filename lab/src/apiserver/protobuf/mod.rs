//! Kubernetes' protobuf bodies, decoded to the same JSON that other clients send: of every native
//! kind, by its schema (`schema/native.json`: what a field is) and the numbers that its fields have
//! on the wire (`schema/numbers.txt`). Answers stay JSON; clients decode by `Content-Type`. The one
//! answer in protobuf is the old OpenAPI document, see [`openapi`].

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::schema::{self, MESSAGE, Schema};
use wire::{Wire, split};

pub(super) mod openapi;
mod wire;

/// What every encoded object starts with; a `runtime.Unknown` follows.
const MAGIC: &[u8] = b"k8s\0";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const EVENT: &str = "io.k8s.api.events.v1.Event";

/// What a field's number stands for.
#[derive(Debug)]
struct Field {
    /// In JSON; of an inline message its own name.
    name: &'static str,
    /// JSON clients write it even when it is empty.
    keeps_empty: bool,
    /// A struct whose fields stand beside its neighbours' in JSON.
    inline: bool,
}

/// A line of `numbers.txt` is a message and its fields: `name=1`, `name=2!` for one that is written
/// even when it is empty, `+MESSAGE=3` for an inline one. Taken from the types of Kubernetes.
static NUMBERS: LazyLock<HashMap<&str, HashMap<u64, Field>>> = LazyLock::new(|| {
    let field = |text: &'static str| {
        let (name, number) = text.split_once('=')?;
        let (inline, keeps_empty) = (name.starts_with('+'), number.ends_with('!'));
        let field = Field { name: name.trim_start_matches('+'), keeps_empty, inline };
        Some((number.trim_end_matches('!').parse().ok()?, field))
    };
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        Some((words.next()?, words.filter_map(field).collect()))
    };
    include_str!("../schema/numbers.txt").lines().filter_map(line).collect()
});

/// Events of the newer group are stored in the older form, so no schema is kept of them.
static NEWER_EVENT: LazyLock<schema::Root> = LazyLock::new(|| {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/io.k8s.{name}")});
    let (text, count) = (json!({"type": "string"}), json!({"type": "integer"}));
    let (time, micro) =
        (reference("apimachinery.pkg.apis.meta.v1.Time"), reference("apimachinery.pkg.apis.meta.v1.MicroTime"));
    schema::Root::new(json!({"type": "object", MESSAGE: EVENT, "properties": {
        "metadata": reference("apimachinery.pkg.apis.meta.v1.ObjectMeta"),
        "eventTime": micro,
        "series": {"type": "object", MESSAGE: "io.k8s.api.events.v1.EventSeries",
            "properties": {"count": count, "lastObservedTime": micro}},
        "reportingController": text, "reportingInstance": text, "action": text, "reason": text,
        "regarding": reference("api.core.v1.ObjectReference"), "related": reference("api.core.v1.ObjectReference"),
        "note": text, "type": text, "deprecatedSource": reference("api.core.v1.EventSource"),
        "deprecatedFirstTimestamp": time, "deprecatedLastTimestamp": time, "deprecatedCount": count,
    }}))
});

/// Why a body was not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    /// A kind that has no protobuf form, such as a custom resource.
    Kind(String),
}

fn schema_of(api_version: &str, kind: &str) -> Option<Schema<'static>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    match (group, kind) {
        // The same in every group.
        (_, "DeleteOptions") => Schema::named(DELETE_OPTIONS),
        ("events.k8s.io", "Event") => Some(NEWER_EVENT.schema()),
        _ => Schema::named(schema::native_name(group, version, kind)?),
    }
}

/// The object of a body as JSON, with `apiVersion` and `kind`.
pub(super) fn decode(body: &[u8]) -> Result<Value, Refusal> {
    let body = body.strip_prefix(MAGIC).ok_or(Refusal::Malformed)?;
    let (mut types, mut raw) = (Vec::new(), &[][..]);
    for (number, wire) in split(body).ok_or(Refusal::Malformed)? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => types = split(bytes).ok_or(Refusal::Malformed)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let text = |wanted: u64| types.iter().find(|(number, _)| *number == wanted).and_then(|(_, wire)| text(*wire));
    let (api_version, kind) = (text(1).unwrap_or_default(), text(2).unwrap_or_default());
    let schema = schema_of(api_version, kind).ok_or_else(|| Refusal::Kind(kind.to_owned()))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    fill(&mut object, raw, schema.message(), schema).ok_or(Refusal::Malformed)?;
    Ok(Value::Object(object))
}

fn text(wire: Wire<'_>) -> Option<&str> {
    let Wire::Bytes(bytes) = wire else { return None };
    std::str::from_utf8(bytes).ok()
}

/// Reads a message's fields into `object`; those that nobody knows are left out.
fn fill(object: &mut Map<String, Value>, bytes: &[u8], message: &str, schema: Schema<'_>) -> Option<()> {
    let numbers = NUMBERS.get(message)?;
    for (number, wire) in split(bytes)? {
        let Some(field) = numbers.get(&number) else { continue };
        if field.inline {
            let Wire::Bytes(bytes) = wire else { return None };
            fill(object, bytes, field.name, schema)?;
            continue;
        }
        let Some(below) = schema.field(field.name) else { continue };
        if below.is_map() {
            let (key, value) = entry(below.field("\0")?, wire)?;
            object.entry(field.name).or_insert_with(|| json!({})).as_object_mut()?.insert(key, value);
        } else if let Some(items) = below.items() {
            object.entry(field.name).or_insert_with(|| json!([])).as_array_mut()?.push(value(items, wire)?);
        } else {
            let value = value(below, wire)?;
            let empty = value == json!("") || value == json!(false) || value == json!(0);
            // Go writes empty fields out; JSON clients leave them away.
            if !value.is_null() && (field.keeps_empty || !empty) {
                object.insert(field.name.to_owned(), value);
            }
        }
    }
    Some(())
}

/// A map is a list of messages: key, value.
fn entry(values: Schema<'_>, wire: Wire<'_>) -> Option<(String, Value)> {
    let Wire::Bytes(bytes) = wire else { return None };
    let (mut key, mut found) = (String::new(), None);
    for (number, wire) in split(bytes)? {
        match (number, wire) {
            (1, wire) => key = text(wire)?.to_owned(),
            (2, Wire::Bytes(bytes)) if values.items().is_some() => {
                // A list in a map is wrapped into a message.
                let items = split(bytes)?.into_iter().map(|(_, wire)| value(values.items()?, wire));
                found = Some(Value::Array(items.collect::<Option<_>>()?));
            }
            (2, wire) => found = Some(value(values, wire)?),
            _ => {}
        }
    }
    let empty = if values.kind() == "integer" { json!(0) } else { json!("") };
    Some((key, found.unwrap_or(empty)))
}

/// The first field of a message with this number.
fn part<'a>(fields: &[(u64, Wire<'a>)], wanted: u64) -> Option<Wire<'a>> {
    fields.iter().find(|(number, _)| *number == wanted).map(|(_, wire)| *wire)
}

/// One value: a scalar, a message, or one of the types that are something else in JSON.
fn value(schema: Schema<'_>, wire: Wire<'_>) -> Option<Value> {
    Some(match (schema.short_name(), schema.kind(), wire) {
        ("Quantity", _, Wire::Bytes(bytes)) => json!(part(&split(bytes)?, 1).and_then(text).unwrap_or_default()),
        ("IntOrString", _, Wire::Bytes(bytes)) => {
            let fields = split(bytes)?;
            match part(&fields, 1) {
                Some(Wire::Number(1)) => json!(part(&fields, 3).and_then(text).unwrap_or_default()),
                _ => json!(number(part(&fields, 2).unwrap_or(Wire::Number(0)))?),
            }
        }
        ("Time" | "MicroTime", _, Wire::Bytes(bytes)) => time(&split(bytes)?, schema.short_name() == "MicroTime"),
        // JSON within protobuf.
        ("FieldsV1" | "RawExtension" | "JSON", _, Wire::Bytes(bytes)) => match part(&split(bytes)?, 1) {
            Some(Wire::Bytes(raw)) => serde_json::from_slice(raw).ok()?,
            _ => Value::Null,
        },
        ("JSONSchemaPropsOrArray", _, Wire::Bytes(bytes)) => match part(&split(bytes)?, 1) {
            Some(wire) => props(wire)?,
            None => Value::Array(split(bytes)?.into_iter().map(|(_, wire)| props(wire)).collect::<Option<_>>()?),
        },
        ("JSONSchemaPropsOrBool", _, Wire::Bytes(bytes)) => match part(&split(bytes)?, 2) {
            Some(wire) => props(wire)?,
            None => json!(part(&split(bytes)?, 1) == Some(Wire::Number(1))),
        },
        (_, "string", Wire::Bytes(bytes)) if schema.format() == "byte" => json!(STANDARD.encode(bytes)),
        (_, "string", wire) => json!(text(wire)?),
        (_, "boolean", Wire::Number(number)) => json!(number != 0),
        (_, "integer", wire) => json!(number(wire)?),
        (_, "number", Wire::Wide(bytes)) => json!(f64::from_le_bytes(bytes)),
        (_, _, Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            fill(&mut object, bytes, schema.message(), schema)?;
            Value::Object(object)
        }
        _ => return None,
    })
}

fn number(wire: Wire<'_>) -> Option<i64> {
    let Wire::Number(number) = wire else { return None };
    Some(number.cast_signed())
}

fn props(wire: Wire<'_>) -> Option<Value> {
    value(Schema::named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")?, wire)
}

/// Seconds and nanoseconds since 1970; a time that was never set has neither.
fn time(fields: &[(u64, Wire<'_>)], micro: bool) -> Value {
    let of = |wanted| part(fields, wanted).and_then(number).unwrap_or_default();
    if fields.is_empty() {
        return Value::Null;
    }
    let Ok(stamp) = jiff::Timestamp::new(of(1), i32::try_from(of(2)).unwrap_or_default()) else { return Value::Null };
    json!(stamp.strftime(if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" }).to_string())
}

#[cfg(test)]
mod tests {
    use super::wire::Writer;
    use super::*;

    fn text(fields: &[(u64, &str)]) -> Writer {
        let mut message = Writer::default();
        for (number, text) in fields {
            message.text(*number, text);
        }
        message
    }
    fn body(api_version: &str, kind: &str, raw: &Writer) -> Vec<u8> {
        let mut unknown = Writer::default();
        unknown.message(1, &text(&[(1, api_version), (2, kind)])).message(2, raw).text(3, "").text(4, "");
        [MAGIC.to_vec(), unknown.into_bytes()].concat()
    }
    fn with(fields: &[(u64, &Writer)]) -> Writer {
        let mut message = Writer::default();
        for (number, inner) in fields {
            message.message(*number, inner);
        }
        message
    }

    #[test]
    fn a_secret_becomes_the_json_that_other_clients_send() {
        let mut meta = text(&[(1, "s"), (2, ""), (3, "ns")]);
        meta.number(7, 0).message(8, &Writer::default()).message(11, &text(&[(1, "app"), (2, "x")]));
        let mut data = text(&[(1, "k")]);
        data.bytes(2, &[0, 255]);
        let mut raw = with(&[(1, &meta), (2, &data)]);
        raw.text(3, "Opaque");
        assert_eq!(
            decode(&body("v1", "Secret", &raw)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "AP8="},
                "metadata": {"name": "s", "namespace": "ns", "labels": {"app": "x"}},
            })
        );
    }

    #[test]
    fn delete_options_keep_numbers_and_policies() {
        let mut raw = Writer::default();
        raw.number(1, 30).text(4, "Foreground").text(5, "All");
        for version in ["v1", "policy/v1"] {
            let options = decode(&body(version, "DeleteOptions", &raw)).unwrap();
            assert_eq!(options["gracePeriodSeconds"], 30);
            assert_eq!(options["propagationPolicy"], "Foreground");
            assert_eq!(options["dryRun"], json!(["All"]));
        }
    }

    #[test]
    fn quantities_inline_structs_times_and_zero_replicas_are_read() {
        let quantity = text(&[(1, "1Gi")]);
        let mut limit = text(&[(1, "pods")]);
        limit.message(2, &quantity);
        let quota = with(&[(2, &with(&[(1, &limit)]))]);
        assert_eq!(decode(&body("v1", "ResourceQuota", &quota)).unwrap()["spec"], json!({"hard": {"pods": "1Gi"}}));

        let claim = text(&[(1, "data")]);
        let mut volume = text(&[(1, "v")]);
        volume.message(2, &with(&[(10, &claim)]));
        let mut seconds = Writer::default();
        seconds.number(1, 1_767_225_600).number(2, 0);
        let meta = with(&[(8, &seconds)]);
        let pod = with(&[(1, &meta), (2, &with(&[(1, &volume)]))]);
        let decoded = decode(&body("v1", "Pod", &pod)).unwrap();
        assert_eq!(decoded["spec"]["volumes"], json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]));
        assert_eq!(decoded["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");

        let mut spec = Writer::default();
        spec.number(1, 0).number(5, 0);
        let deployment = decode(&body("apps/v1", "Deployment", &with(&[(2, &spec)]))).unwrap();
        assert_eq!(deployment["spec"], json!({"replicas": 0}), "a pointer to zero is a zero, minReadySeconds is none");
    }

    #[test]
    fn an_event_of_the_newer_group_is_read() {
        let mut event = text(&[(4, "kubelet"), (7, "Pulled"), (10, "note")]);
        event.message(8, &text(&[(1, "Pod"), (3, "p")]));
        let decoded = decode(&body("events.k8s.io/v1", "Event", &event)).unwrap();
        assert_eq!(decoded["regarding"], json!({"kind": "Pod", "name": "p"}));
        assert_eq!(decoded["note"], "note");
    }

    #[test]
    fn every_kind_that_the_server_has_can_be_read() {
        for (name, schema) in schema::native_schemas() {
            if schema["x-kubernetes-group-version-kind"].is_array() {
                assert!(NUMBERS.contains_key(name.as_str()), "{name} has no numbers");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(decode(b"{}"), Err(Refusal::Malformed));
        let whole = body("v1", "Secret", &with(&[(1, &text(&[(1, "s")]))]));
        assert_eq!(decode(&whole[..12]), Err(Refusal::Malformed));
        let plan = body("forklift.konveyor.io/v1beta1", "Plan", &Writer::default());
        assert_eq!(decode(&plan), Err(Refusal::Kind("Plan".to_owned())));
    }
}
