//! Create, update and delete: what a real API server sets, checks and refuses.

use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::resources::{ResourceDef, StatusMode, from_crd};
use super::store::{Action, ObjectKey, has_finalizers, is_deleting, metadata};
use super::validate;

/// Characters of a generated name's end.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// `namespaces/NAME/finalize`: `spec.finalizers`.
    Finalize,
}

/// Options of a DELETE, from the body or the query.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteOptions {
    pub policy: Option<String>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn key(def: &ResourceDef, namespace: Option<&str>, name: &str) -> ObjectKey {
    let namespace = if def.namespaced { namespace.unwrap_or_default() } else { "" };
    ObjectKey { storage: def.storage.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
}

fn generated(base: &str) -> String {
    let random = uuid::Uuid::new_v4().into_bytes();
    // Bytes 6 and 8 of a version 4 UUID carry fixed bits.
    let suffix = random.iter().take(5).map(|b| char::from(SUFFIX[usize::from(*b) % SUFFIX.len()]));
    base.chars().take(58).chain(suffix).collect()
}

/// Refuses a body of another kind or version; native kinds may leave both out.
fn check_types(def: &ResourceDef, body: &mut Value) -> Result<(), ApiError> {
    if !body.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error",
            def.kind
        )));
    }
    let expected = def.api_version();
    for (field, wanted) in [("kind", &def.kind), ("apiVersion", &expected)] {
        match body[field].as_str().unwrap_or_default() {
            "" if def.custom => {
                let what = if field == "kind" { "Kind" } else { "apiVersion" };
                return Err(ApiError::bad_request(format!("Object '{what}' is missing in the body")));
            }
            "" => body[field] = json!(wanted),
            found if found != wanted && field == "apiVersion" => {
                return Err(ApiError::bad_request(format!(
                    "the API version in the data ({found}) does not match the expected API version ({wanted})"
                )));
            }
            found if found != wanted => {
                return Err(ApiError::bad_request(format!(
                    "{found} in version \"{}\" cannot be handled as a {wanted}: no kind \"{found}\" is registered for this resource",
                    def.version
                )));
            }
            _ => {}
        }
    }
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    Ok(())
}

/// Secrets: `stringData` goes over `data` and is never stored.
fn normalise(def: &ResourceDef, object: &mut Value) {
    if def.storage.0.is_empty() && def.plural == "secrets" {
        use base64::Engine;
        let texts = object.as_object_mut().and_then(|o| o.remove("stringData"));
        for (name, text) in texts.as_ref().and_then(Value::as_object).into_iter().flatten() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
            object["data"][name] = json!(encoded);
        }
        if object["type"].as_str().is_none_or(str::is_empty) {
            object["type"] = json!("Opaque");
        }
    }
    if def.is_namespaces() {
        let name = metadata(object, "name").to_owned();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
    }
}

/// What native kinds get when they are created.
fn defaults(def: &ResourceDef, object: &mut Value) {
    if !def.storage.0.is_empty() && !def.is_crds() {
        return;
    }
    match def.plural.as_str() {
        "namespaces" | "projects" | "projectrequests" => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        "pods" => object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"}),
        "persistentvolumeclaims" => {
            object["status"] = json!({"phase": "Pending"});
            if object["spec"]["volumeMode"].is_null() {
                object["spec"]["volumeMode"] = json!("Filesystem");
            }
        }
        "persistentvolumes" => object["status"] = json!({"phase": "Available"}),
        "customresourcedefinitions" => {
            let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message});
            let versions = object["spec"]["versions"].as_array().into_iter().flatten();
            let stored: Vec<&Value> = versions.filter(|v| v["storage"] == json!(true)).map(|v| &v["name"]).collect();
            object["status"] = json!({
                "acceptedNames": object["spec"]["names"],
                "storedVersions": stored,
                "conditions": [
                    condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                    condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                ],
            });
        }
        _ => {}
    }
}

impl State {
    /// POST, and apply to a name that is not there.
    pub fn create(
        &self,
        def: &ResourceDef,
        namespace: Option<&str>,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Arc<Value>, ApiError> {
        check_types(def, &mut object)?;
        if def.namespaced {
            let own = metadata(&object, "namespace");
            if !own.is_empty() && Some(own) != namespace {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            object["metadata"]["namespace"] = json!(namespace.unwrap_or_default());
        } else if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("namespace");
        }
        if !metadata(&object, "resourceVersion").is_empty() {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        // A project is stored as the namespace that it is.
        if let Some(stored) = self.registry.stored(&def.storage).filter(|s| s.kind != def.kind) {
            object["kind"] = json!(stored.kind);
            object["apiVersion"] = json!(stored.api_version());
        }
        let base = metadata(&object, "generateName").to_owned();
        let asked = metadata(&object, "name").to_owned();
        if asked.is_empty() && base.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(ApiError::invalid(def, "", "metadata.name", "FieldValueRequired", why));
        }
        if let Some(meta) = object["metadata"].as_object_mut() {
            for field in
                ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "generation"]
            {
                meta.remove(field);
            }
        }
        object["metadata"]["uid"] = json!(uuid::Uuid::new_v4().to_string());
        object["metadata"]["creationTimestamp"] = json!(now());
        if def.generation {
            object["metadata"]["generation"] = json!(1);
        }
        if def.status == StatusMode::Separate
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        let mut tries = if asked.is_empty() { 8 } else { 1 };
        loop {
            tries -= 1;
            let name = if asked.is_empty() { generated(&base) } else { asked.clone() };
            let mut object = object.clone();
            object["metadata"]["name"] = json!(name);
            normalise(def, &mut object);
            defaults(def, &mut object);
            validate::name(def, &name)?;
            validate::metadata(def, &object)?;
            match self.insert(def, &key(def, namespace, &name), object, dry_run) {
                Err(e) if e.reason == "AlreadyExists" && tries > 0 => {}
                result => return result,
            }
        }
    }

    fn insert(&self, def: &ResourceDef, key: &ObjectKey, object: Value, dry_run: bool) -> Result<Arc<Value>, ApiError> {
        let created = self.store.write(key, |objects, existing| {
            if let Some(existing) = existing {
                return Err(ApiError::already_exists(def, &key.name, is_deleting(existing)));
            }
            if def.namespaced {
                let namespace = objects.namespace(&key.namespace);
                let namespace = namespace.ok_or_else(|| ApiError::namespace_not_found(&key.namespace))?;
                if is_deleting(namespace) {
                    return Err(ApiError::terminating(def, &key.name, &key.namespace));
                }
            }
            Ok(if dry_run { Action::Keep(object) } else { Action::Put(object) })
        })?;
        if !dry_run {
            self.after_create(def, &created);
        }
        Ok(created)
    }

    fn after_create(&self, def: &ResourceDef, created: &Value) {
        if def.is_crds() {
            self.registry.add(from_crd(created));
        }
        if def.is_namespaces()
            && let Some(accounts) = self.registry.find("", "v1", "serviceaccounts")
        {
            let account = json!({"metadata": {"name": "default"}});
            // It can only be there already.
            let _ = self.create(&accounts, Some(metadata(created, "name")), account, false);
        }
    }

    /// PUT and PATCH: `change` makes the new object of the stored one.
    pub fn update(
        &self,
        def: &ResourceDef,
        key: &ObjectKey,
        part: Part,
        dry_run: bool,
        change: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let updated = self.store.write(key, |_, current| {
            let current = current.ok_or_else(|| ApiError::not_found(def, &key.name))?;
            let wanted = change(current)?;
            let object = prepare(def, key, part, current, wanted)?;
            if dry_run {
                return Ok(Action::Keep(object));
            }
            let done = is_deleting(&object) && !has_finalizers(&object) && !def.is_namespaces();
            Ok(if done { Action::Remove(object) } else { Action::Put(object) })
        })?;
        if def.is_crds() && !dry_run {
            self.registry.add(from_crd(&updated));
        }
        Ok(updated)
    }

    /// DELETE. The second value is false when the object still waits for finalizers.
    pub fn delete(
        &self,
        def: &ResourceDef,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        let mut gone = false;
        let mut orphans = None;
        let object = self.store.write(key, |objects, current| {
            let current = current.ok_or_else(|| ApiError::not_found(def, &key.name))?;
            check_preconditions(def, key, current, options)?;
            let mut object = Value::clone(current);
            let uid = metadata(current, "uid");
            match options.policy.as_deref() {
                Some("Foreground") if objects.has_dependents(uid) => add_finalizer(&mut object, "foregroundDeletion"),
                Some("Orphan") => orphans = Some(uid.to_owned()),
                _ => {}
            }
            if !has_finalizers(&object) && !def.is_namespaces() {
                gone = true;
                return Ok(if options.dry_run { Action::Keep(object) } else { Action::Remove(object) });
            }
            if !is_deleting(&object) {
                object["metadata"]["deletionTimestamp"] = json!(now());
                if def.is_namespaces() {
                    object["status"]["phase"] = json!("Terminating");
                } else {
                    object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                }
                if let Some(generation) = object["metadata"]["generation"].as_i64() {
                    object["metadata"]["generation"] = json!(generation + 1);
                }
            }
            Ok(if options.dry_run { Action::Keep(object) } else { Action::Put(object) })
        })?;
        if options.dry_run {
            return Ok((object, gone));
        }
        if let Some(uid) = orphans {
            self.strip_owner(&uid);
        }
        if gone && def.is_crds() {
            self.drop_custom_resource(&object);
        }
        Ok((object, gone))
    }

    /// Takes an owner out of its dependents' references.
    pub fn strip_owner(&self, uid: &str) {
        for key in self.store.dependents(uid) {
            // A dependent that has just gone needs nothing.
            let _ = self.store.write(&key, |_, current| {
                let mut object = current.map(|c| Value::clone(c)).ok_or_else(ApiError::no_such_resource)?;
                if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|o| o["uid"] != json!(uid));
                }
                Ok(Action::Put(object))
            });
        }
    }

    fn drop_custom_resource(&self, crd: &Value) {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
        let storage = (group.clone(), plural.clone());
        for object in self.store.list(&storage, None).1 {
            let key = ObjectKey {
                storage: storage.clone(),
                namespace: metadata(&object, "namespace").to_owned(),
                name: metadata(&object, "name").to_owned(),
            };
            // Instances go with their definition, finalizers or not.
            let _ = self.store.write(&key, |_, current| {
                Ok(Action::Remove(Value::clone(current.ok_or_else(ApiError::no_such_resource)?)))
            });
        }
        self.registry.remove(&group, &plural);
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(finalizers) if finalizers.iter().any(|f| f == finalizer) => {}
        Some(finalizers) => finalizers.push(json!(finalizer)),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

fn check_preconditions(
    def: &ResourceDef,
    key: &ObjectKey,
    current: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let checks = [("UID", &options.uid, "uid"), ("ResourceVersion", &options.resource_version, "resourceVersion")];
    for (what, wanted, field) in checks {
        let found = metadata(current, field);
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been deleted and then recreated"
            );
            return Err(ApiError::conflict(def, &key.name, &why));
        }
    }
    Ok(())
}

/// Makes `wanted` storable: identity and generation from the stored object, only the `part` changed.
fn prepare(
    def: &ResourceDef,
    key: &ObjectKey,
    part: Part,
    current: &Value,
    mut wanted: Value,
) -> Result<Value, ApiError> {
    if !wanted["metadata"].is_object() {
        wanted["metadata"] = json!({});
    }
    let name = metadata(&wanted, "name");
    if !name.is_empty() && name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let version = metadata(&wanted, "resourceVersion");
    if !version.is_empty() && version != metadata(current, "resourceVersion") {
        return Err(ApiError::stale(def, &key.name));
    }
    let uid = metadata(&wanted, "uid");
    if !uid.is_empty() && uid != metadata(current, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            metadata(current, "uid")
        );
        return Err(ApiError::conflict(def, &key.name, &why));
    }
    let mut object = match part {
        Part::Main => wanted,
        Part::Status => with_field(current, "status", wanted.get("status")),
        Part::Finalize => with_field(current, "spec", wanted.get("spec")),
    };
    if part == Part::Main && (def.status == StatusMode::Separate) {
        object = with_field(&object, "status", current.get("status"));
    }
    for field in ["apiVersion", "kind"] {
        object[field] = current[field].clone();
    }
    const IDENTITY: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ];
    for field in IDENTITY {
        match current["metadata"].get(field) {
            Some(value) => object["metadata"][field] = value.clone(),
            None => drop(object["metadata"].as_object_mut().and_then(|m| m.remove(field))),
        }
    }
    if is_deleting(current) {
        let had: Vec<&Value> = current["metadata"]["finalizers"].as_array().into_iter().flatten().collect();
        let now = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        if let Some(new) = now.into_iter().find(|f| !had.contains(f)) {
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{new}}}"
            );
            return Err(ApiError::invalid(def, &key.name, "metadata.finalizers", "FieldValueForbidden", &why));
        }
    }
    normalise(def, &mut object);
    validate::metadata(def, &object)?;
    if def.generation && changed(def, current, &object) {
        let generation = current["metadata"]["generation"].as_i64().unwrap_or(1);
        object["metadata"]["generation"] = json!(generation + 1);
    }
    Ok(object)
}

/// Any difference outside metadata and status.
fn changed(def: &ResourceDef, old: &Value, new: &Value) -> bool {
    let status_counts = def.status == StatusMode::None;
    let fields = |object: &Value| -> Vec<(String, Value)> {
        let mut fields: Vec<_> = object
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "metadata" && (status_counts || *name != "status"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    };
    fields(old) != fields(new)
}

fn with_field(object: &Value, field: &str, value: Option<&Value>) -> Value {
    let mut object = object.clone();
    match value {
        Some(value) => object[field] = value.clone(),
        None => drop(object.as_object_mut().and_then(|o| o.remove(field))),
    }
    object
}
