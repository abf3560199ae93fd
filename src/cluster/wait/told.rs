//! An object as a watch tells it, read in one pass.
//!
//! `DynamicObject` flattens what it does not know, for which serde holds each object twice, and it reads who wrote
//! which field (`managedFields`): half of an object, and nobody's business here. Knows JSON alone. An event must begin
//! with its type, as every API server of Kubernetes' own code sends it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::api::{ApiResource, DynamicObject, TypeMeta};
use kube::core::DynamicResourceScope;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Namespace, empty where there is none, and name.
pub(super) type Name = (String, String);

pub(super) fn name_in(namespace: Option<&str>, name: &str) -> Name {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

/// What a watch tells of one object, without `managedFields`; what is neither type nor metadata as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Told {
    types: Option<TypeMeta>,
    metadata: ObjectMeta,
    fields: Vec<(Box<str>, Box<RawValue>)>,
}

/// An object as text: a fifth of what its tree of values takes, and read as fast. A run keeps many.
#[derive(Debug)]
pub(crate) struct Held {
    text: Box<str>,
    pub(super) uid: Option<String>,
    /// The version as a number: etcd's are. `None`: nobody can say which of two is older.
    pub(super) version: Option<u64>,
}

impl Held {
    fn new(object: &impl Serialize, metadata: &ObjectMeta) -> Self {
        Self {
            // What can't be written can't be read, and who reads it says so.
            text: serde_json::to_string(object).unwrap_or_default().into(),
            uid: metadata.uid.clone(),
            version: metadata.resource_version.as_deref().and_then(|version| version.parse().ok()),
        }
    }

    /// Of the answer to a write.
    pub(super) fn of(object: &DynamicObject) -> Self {
        let mut bare = object.clone();
        bare.metadata.managed_fields = None;
        Self::new(&bare, &bare.metadata)
    }

    pub(crate) fn read<K: DeserializeOwned>(&self) -> Result<K, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

impl Told {
    /// Items of lists come without their type: `kind` is what was asked for.
    pub(super) fn hold(mut self, kind: &TypeMeta) -> (Name, Held) {
        self.types.get_or_insert_with(|| kind.clone());
        let name = self.metadata.name.as_deref().unwrap_or_default();
        (name_in(self.metadata.namespace.as_deref(), name), Held::new(&self, &self.metadata))
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(types) = &self.types {
            map.serialize_entry("apiVersion", &types.api_version)?;
            map.serialize_entry("kind", &types.kind)?;
        }
        map.serialize_entry("metadata", &self.metadata)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    self_link: Option<String>,
    uid: Option<String>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            annotations: meta.annotations,
            creation_timestamp: meta.creation_timestamp,
            deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
            deletion_timestamp: meta.deletion_timestamp,
            finalizers: meta.finalizers,
            generate_name: meta.generate_name,
            generation: meta.generation,
            labels: meta.labels,
            managed_fields: None,
            name: meta.name,
            namespace: meta.namespace,
            owner_references: meta.owner_references,
            resource_version: meta.resource_version,
            self_link: meta.self_link,
            uid: meta.uid,
        }
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Told;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Told, A::Error> {
                let (mut api_version, mut kind, mut metadata) = (None, None, Meta::default());
                let mut fields = Vec::new();
                while let Some(field) = map.next_key::<Cow<'de, str>>()? {
                    match &*field {
                        "apiVersion" => api_version = map.next_value()?,
                        "kind" => kind = map.next_value()?,
                        "metadata" => metadata = map.next_value::<Option<Meta>>()?.unwrap_or_default(),
                        _ => fields.push((field.into(), map.next_value()?)),
                    }
                }
                let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
                Ok(Told { types, metadata: metadata.into(), fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Resource for Told {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(kind)
    }
    fn group(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(kind)
    }
    fn version(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(kind)
    }
    fn api_version(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::api_version(kind)
    }
    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(kind)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::api::WatchEvent;
    use serde_json::{Value, json};

    use super::*;

    /// Every field of metadata that the API has, so that none is lost when the library learns of another.
    fn whole() -> Value {
        let owner = json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u", "controller": true, "blockOwnerDeletion": false});
        json!({
            "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
            "metadata": {
                "annotations": {"a": "b"}, "creationTimestamp": "2026-11-29T10:00:00Z",
                "deletionGracePeriodSeconds": 30, "deletionTimestamp": "2026-11-29T11:00:00Z",
                "finalizers": ["f"], "generateName": "p-", "generation": 3, "labels": {"l": "m"},
                "name": "p-1", "namespace": "mtv", "ownerReferences": [owner], "resourceVersion": "17",
                "selfLink": "/x", "uid": "abc",
            },
            "spec": {"vms": [{"id": "vm-1"}]}, "status": {"conditions": []},
        })
    }

    fn kind() -> TypeMeta {
        TypeMeta { api_version: "forklift.konveyor.io/v1beta1".to_owned(), kind: "Plan".to_owned() }
    }

    #[test]
    fn an_object_is_held_as_kube_reads_it_but_for_its_managed_fields() {
        let mut sent = whole();
        sent["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]);
        // As a server sends it, the type of the event first.
        let line = format!(r#"{{"type":"MODIFIED","object":{sent}}}"#);
        let WatchEvent::Modified(told) = serde_json::from_str::<WatchEvent<Told>>(&line).unwrap() else {
            panic!("another event")
        };
        let (name, held) = told.hold(&kind());
        assert_eq!(name, ("mtv".to_owned(), "p-1".to_owned()));
        assert_eq!((held.uid.as_deref(), held.version), (Some("abc"), Some(17)));
        assert_eq!(held.read::<Value>().unwrap(), whole());
        let plain: DynamicObject = serde_json::from_value(whole()).unwrap();
        assert_eq!(held.read::<DynamicObject>().unwrap(), plain);
        assert_eq!(Held::of(&plain).text, held.text);
        assert!(serde_json::from_str::<Told>("[]").unwrap_err().to_string().contains("a Kubernetes object"));
    }

    #[test]
    fn an_item_of_a_list_has_the_type_that_was_asked_for() {
        let told: Told =
            serde_json::from_str(r#"{"metadata": {"name": "x", "resourceVersion": "old"}, "data": null}"#).unwrap();
        let (name, held) = told.hold(&kind());
        assert_eq!((name.1.as_str(), held.version), ("x", None));
        let whole = held.read::<Value>().unwrap();
        assert_eq!((&whole["kind"], &whole["data"]), (&json!("Plan"), &Value::Null));
    }
}
