//! Create, update and delete: what a real API server sets, checks and refuses.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::defaults;
use super::error::ApiError;
use super::events;
use super::managers;
use super::prepare::{changed, check_types, normalise, prepare};
use super::resources::{ResourceDef, StatusMode, from_crd};
use super::rules;
use super::schema::validate as schema_check;
use super::schema::{native, prune};
use super::store::{Action, ObjectKey, has_finalizers, is_deleting, metadata};
use super::validate;
use super::webhooks::{self, Admission};

const MANAGERS: &str = "/metadata/managedFields";
/// Characters of a generated name's end.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// `namespaces/NAME/finalize`: `spec.finalizers`.
    Finalize,
    /// `spec.replicas`.
    Scale,
}

/// What happens to fields that the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    Ignore,
    Warn,
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Patch,
    Apply,
}

/// How a write is done, and what the writer is to be told beside the answer.
pub(super) struct Write<'a> {
    pub verb: Verb,
    pub dry_run: bool,
    /// Whose fields these are; none for the server's own writes.
    pub manager: Option<&'a str>,
    pub strictness: Strictness,
    /// Fields that the body has twice.
    pub twice: Vec<String>,
    pub warnings: RefCell<Vec<String>>,
    /// What webhooks have to say.
    pub admission: &'a Admission,
    /// The change looks at the object's status and at nothing else of it.
    pub of_status: Option<OfStatus>,
}

/// How much of an object's status a change looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfStatus {
    /// It puts another one in its place.
    Replaces,
    Changes,
}

impl OfStatus {
    /// As much of the object as the change looks at. A status goes on many times while the rest, and who wrote what of
    /// it, stays as it is.
    fn of(self, object: &Value) -> Value {
        let mut part = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {}});
        for field in ["name", "namespace", "uid", "resourceVersion"] {
            if let Some(value) = object["metadata"].get(field) {
                part["metadata"][field] = value.clone();
            }
        }
        if let Some(status) = object.get("status").filter(|_| self == Self::Changes) {
            part["status"] = status.clone();
        }
        part
    }
}

impl Write<'_> {
    /// By the server itself.
    pub fn inside(verb: Verb) -> Self {
        Self {
            verb,
            dry_run: false,
            manager: None,
            strictness: Strictness::Ignore,
            twice: Vec::new(),
            warnings: RefCell::default(),
            admission: &webhooks::OFF,
            of_status: None,
        }
    }

    /// Takes unknown fields away, or refuses them.
    pub fn admit(&self, def: &ResourceDef, object: &mut Value) -> Result<(), ApiError> {
        let Some(schema) = def.schema() else { return Ok(()) };
        if self.twice.is_empty() && prune::is_clean(schema, object) {
            return Ok(());
        }
        let refusal = |object: &Value, why: &str| {
            if self.verb == Verb::Patch {
                return ApiError::bad_patch(object, why);
            }
            ApiError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: {why}",
                def.kind, def.version, def.kind
            ))
        };
        if self.verb != Verb::Apply
            && let Some(why) = native::wrong_type(if def.custom { def.meta_schema() } else { schema }, object)
        {
            return Err(refusal(object, &why));
        }
        // Only a refusal tells what was there before.
        let whole = (self.verb == Verb::Patch && self.strictness == Strictness::Strict).then(|| object.clone());
        let mut unknown = Vec::new();
        prune::prune(schema, object, &mut unknown);
        if def.custom {
            unknown.sort();
        }
        let twice = self.twice.iter().map(|path| format!("duplicate field \"{path}\""));
        let all: Vec<String> =
            twice.chain(unknown.into_iter().map(|path| format!("unknown field \"{path}\""))).collect();
        if !all.is_empty() {
            match self.strictness {
                Strictness::Ignore => {}
                Strictness::Warn => self.warnings.borrow_mut().extend(all),
                Strictness::Strict => {
                    let why = format!("strict decoding error: {}", all.join(", "));
                    return Err(refusal(whole.as_ref().unwrap_or(object), &why));
                }
            }
        }
        prune::tidy(schema, object);
        Ok(())
    }
}

/// Fills in defaults and what webhooks want, and refuses what the schema or the kind's rules do not
/// allow. A draft is not judged: webhooks may mend it.
pub(super) fn complete(
    def: &ResourceDef,
    part: Part,
    old: Option<&Value>,
    object: &mut Value,
    admission: &Admission,
) -> Result<(), ApiError> {
    let Some(schema) = def.schema() else { return Ok(()) };
    match (part, old) {
        // The rest has the defaults of when it was written.
        (Part::Status, Some(_)) => prune::defaults_of(schema, "status", object),
        _ => prune::defaults(schema, object),
    }
    if admission.is_draft() {
        return Ok(());
    }
    if let Some(decided) = admission.decided().filter(|decided| !decided.patches.is_empty()) {
        // What webhooks were shown is what they patch.
        *object = managers::whole(object);
        decided.apply(object)?;
        prune::prune(schema, object, &mut Vec::new());
        prune::tidy(schema, object);
        prune::defaults(schema, object);
    }
    let name = metadata(object, "name");
    if def.custom {
        let part = if part == Part::Status { "status" } else { "" };
        let causes = schema_check::validate(schema, object, part);
        return validate::refuse(def, name, &causes);
    }
    validate::refuse(def, name, &rules::check(def, old, object))
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

impl State {
    /// POST, and apply to a name that is not there.
    pub fn create(
        &self,
        def: &ResourceDef,
        namespace: Option<&str>,
        mut object: Value,
        write: &Write<'_>,
    ) -> Result<Arc<Value>, ApiError> {
        check_types(def, &mut object)?;
        write.admit(def, &mut object)?;
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
        if events::is_newer(def) {
            object = events::older(&object);
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
            for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
                meta.shift_remove(field);
            }
            if write.verb != Verb::Apply {
                meta.shift_remove("managedFields");
            }
        }
        if def.is_crds() {
            crd_rules(def, &object)?;
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
            let name = match write.admission.decided() {
                Some(decided) => decided.name.clone(),
                None if asked.is_empty() => generated(&base),
                None => asked.clone(),
            };
            // Another name may be tried with it.
            let mut object = if tries > 0 { object.clone() } else { object.take() };
            object["metadata"]["name"] = json!(name);
            normalise(def, &mut object);
            defaults::fill(def, &mut object);
            self.default_class(def, &mut object);
            let mut causes = validate::name(def, if asked.is_empty() { &base } else { "" }, &name);
            causes.extend(validate::metadata(def, &object));
            validate::refuse(def, &name, &causes)?;
            complete(def, Part::Main, None, &mut object, write.admission)?;
            if let Some(manager) = write.manager {
                let by = managers::Writer { name: manager, part: Part::Main, only_status: false };
                managers::updated(def, by, None, &mut object);
            }
            write.admission.record(None, &object);
            self.within_quota(def, namespace.unwrap_or_default(), &name, &object)?;
            match self.insert(def, &key(def, namespace, &name), object, write.dry_run) {
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
            let _ = self.create(&accounts, Some(metadata(created, "name")), account, &Write::inside(Verb::Create));
        }
    }

    /// A status that the server itself keeps, where it is another one than `object` has.
    pub fn tell(&self, def: &ResourceDef, object: &Value, status: &Value) {
        if object["status"] == *status {
            return;
        }
        let key = key(def, Some(metadata(object, "namespace")), metadata(object, "name"));
        // It may be gone by now.
        let _ = self.update(def, &key, Part::Status, &Write::inside(Verb::Patch), |current| {
            let mut told = current.clone();
            told["status"] = status.clone();
            Ok(told)
        });
    }

    /// PUT and PATCH: `change` makes the new object of the stored one.
    pub fn update(
        &self,
        def: &ResourceDef,
        key: &ObjectKey,
        part: Part,
        write: &Write<'_>,
        change: impl Fn(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let admitted = |current: &Value| {
            let mut wanted = change(current)?;
            // A text in its place is refused, unless it is what is stored, which the change has left as it was.
            // A PUT brings all of an object, but of its scale.
            let made_of_it = write.verb != Verb::Update || part == Part::Scale;
            let stored = current.pointer(MANAGERS).filter(|stored| stored.is_string() && made_of_it);
            let packed = wanted.pointer_mut(MANAGERS).filter(|wanted| Some(&**wanted) == stored).map(Value::take);
            if write.verb == Verb::Patch && !def.custom {
                check_types(def, &mut wanted).map_err(|e| {
                    // After a patch it is the result that is refused.
                    let why = e.message.split_once(&format!("a {}: ", def.kind)).map_or("", |(_, why)| why).to_owned();
                    if why.is_empty() { e } else { ApiError::bad_patch(&wanted, &why) }
                })?;
            }
            write.admit(def, &mut wanted)?;
            if let Some(packed) = packed {
                wanted["metadata"]["managedFields"] = packed;
            }
            Ok(wanted)
        };
        let mut last = None;
        let updated = self.store.write(key, |_, current| {
            let current = current.ok_or_else(|| ApiError::not_found(def, &key.name))?;
            if write.admission.decided().is_some_and(|decided| !decided.still_fits(current)) {
                return Err(ApiError::stale(def, &key.name));
            }
            // What a webhook wants is not bound to the status.
            let free = write.admission.decided().is_some_and(|decided| !decided.patches.is_empty());
            let only_status = part == Part::Status && !free;
            let of_status = write.of_status.filter(|_| only_status);
            // What is refused is tried again on the whole object, with its managers as they are elsewhere: the refusal shows it.
            let wanted = of_status.and_then(|of_status| admitted(&of_status.of(current)).ok());
            let wanted = wanted.map_or_else(|| admitted(current), Ok);
            let wanted = match wanted {
                Err(_) if write.verb == Verb::Patch => admitted(&managers::whole(current)),
                other => other,
            }?;
            let mut object = prepare(def, key, part, write.verb, current, wanted)?;
            complete(def, part, Some(current), &mut object, write.admission)?;
            if !only_status {
                bump_generation(def, current, &mut object);
            }
            if let Some(manager) = write.manager {
                let by = managers::Writer { name: manager, part, only_status };
                managers::updated(def, by, Some(current), &mut object);
            }
            write.admission.record(Some(current), &object);
            if write.dry_run {
                return Ok(Action::Keep(object));
            }
            let done = is_deleting(&object) && !has_finalizers(&object) && !def.is_namespaces();
            if done {
                last = Some(object.clone());
            }
            Ok(if done { Action::Remove(object) } else { Action::Put(object) })
        })?;
        // Whoever takes the last finalizer away is told the version before the end.
        if let Some(last) = last {
            return Ok(Arc::new(last));
        }
        if def.is_crds() && !write.dry_run {
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
        let object = self.store.write(key, |_, current| {
            let current = current.ok_or_else(|| ApiError::not_found(def, &key.name))?;
            check_preconditions(def, key, current, options)?;
            let mut object = Value::clone(current);
            match options.policy.as_deref() {
                Some("Foreground") => add_finalizer(&mut object, "foregroundDeletion"),
                Some("Orphan") => add_finalizer(&mut object, "orphan"),
                _ => {}
            }
            if !has_finalizers(&object) && !def.is_namespaces() {
                gone = true;
                if def.plural == "pods" {
                    object["metadata"]["deletionTimestamp"] = json!(now());
                    object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                }
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
                    if owners.is_empty() {
                        drop(object["metadata"].as_object_mut().and_then(|m| m.shift_remove("ownerReferences")));
                    }
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

fn crd_rules(def: &ResourceDef, crd: &Value) -> Result<(), ApiError> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, wanted) = (metadata(crd, "name"), format!("{}.{}", text("/spec/names/plural"), text("/spec/group")));
    if name == wanted {
        return Ok(());
    }
    let why = format!("Invalid value: \"{name}\": must be spec.names.plural+\".\"+spec.group");
    Err(ApiError::invalid(def, name, "metadata.name", "FieldValueInvalid", &why))
}

/// A change outside metadata and status makes a new generation.
fn bump_generation(def: &ResourceDef, current: &Value, object: &mut Value) {
    if def.generation && changed(def, current, object) {
        let generation = current["metadata"]["generation"].as_i64().unwrap_or(1);
        object["metadata"]["generation"] = json!(generation + 1);
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
            let end = if what == "UID" { "deleted and then recreated" } else { "modified" };
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {end}"
            );
            return Err(ApiError::failed_precondition(def, &key.name, &why));
        }
    }
    Ok(())
}
