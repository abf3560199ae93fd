//! Values of custom resources against their schema, with the words of the real validator.
//! Rules in CEL are not evaluated.

use serde_json::{Map, Value, json};

use super::{At, ListKind, Schema};

/// A refused value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::apiserver) struct Cause {
    pub field: String,
    pub reason: &'static str,
    pub message: String,
}

struct Check {
    causes: Vec<Cause>,
    /// Left out of the paths inside messages, as the validator of a status does.
    hidden: &'static str,
}

/// Every refused value, in the order of the schema. `part` is empty or `status`, when only that is
/// written.
pub(in crate::apiserver) fn validate(schema: Schema<'_>, object: &Value, part: &'static str) -> Vec<Cause> {
    let mut check = Check { causes: Vec::new(), hidden: part };
    if part.is_empty() {
        check.object(schema, object, &At::Root);
    } else if let Some((schema, value)) = schema.field(part).zip(object.get(part)) {
        check.value(schema, value, &At::Field(&At::Root, part));
    }
    check.causes
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Check {
    fn refuse(&mut self, field: &At<'_>, reason: &'static str, message: String) {
        self.causes.push(Cause { field: field.to_string(), reason, message });
    }
    fn wrong_type(&mut self, field: &At<'_>, value: &Value, why: &str) {
        self.invalid(field, value, why);
        if let Some(last) = self.causes.last_mut() {
            last.reason = "FieldValueTypeInvalid";
        }
    }
    fn invalid(&mut self, field: &At<'_>, value: &Value, why: &str) {
        let path = field.to_string();
        let name = path.strip_prefix(self.hidden).unwrap_or(&path).trim_start_matches('.');
        let message = format!("Invalid value: {value}: {name} in body {why}");
        self.refuse(field, "FieldValueInvalid", message);
    }

    fn object(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) {
        let Some(map) = value.as_object() else { return };
        for name in schema.required().iter().filter(|name| !map.contains_key(*name)) {
            self.refuse(&At::Field(path, name), "FieldValueRequired", "Required value".to_owned());
        }
        for (name, value) in map {
            // Metadata has rules of its own.
            if matches!(path, At::Root) && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                continue;
            }
            if let Some(field) = schema.field(name) {
                self.value(field, value, &At::Field(path, name));
            }
        }
    }

    fn value(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) {
        if value.is_null() {
            return;
        }
        if !self.type_fits(schema, value, path) {
            self.allowed(schema, value, path);
            return;
        }
        self.allowed(schema, value, path);
        if !schema.is_int_or_string() {
            self.choices(schema, value, path);
        }
        match value {
            Value::Object(map) => {
                self.object(schema, value, path);
                if let Some(limits) = schema.limits() {
                    self.count(path, map.len(), limits.properties, "properties");
                }
            }
            Value::Array(list) => self.list(schema, list, path),
            Value::String(text) => self.text(schema, text, path),
            Value::Number(_) => self.number(schema, value, path),
            _ => {}
        }
    }

    fn type_fits(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) -> bool {
        let found = type_of(value);
        let (fits, wanted) = if schema.is_int_or_string() {
            (matches!(found, "integer" | "string"), "integer,string")
        } else {
            let wanted = schema.kind();
            let whole = wanted == "integer" && value.as_f64().is_some_and(|n| n.fract() == 0.0);
            (wanted.is_empty() || found == wanted || whole || (wanted == "number" && found == "integer"), wanted)
        };
        if !fits {
            self.wrong_type(path, &json!(found), &format!("must be of type {wanted}: \"{found}\""));
        }
        fits
    }

    fn passes(&self, schema: Schema<'_>, value: &Value, path: &At<'_>) -> bool {
        let mut check = Self { causes: Vec::new(), hidden: self.hidden };
        check.value(schema, value, path);
        check.causes.is_empty()
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`.
    fn choices(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) {
        let Some(limits) = schema.limits() else { return };
        let shown = match value {
            Value::Object(_) | Value::Array(_) => json!(""),
            other => other.clone(),
        };
        for all in &limits.all {
            self.value(Schema::new(all), value, path);
        }
        if !limits.any.is_empty() && !limits.any.iter().any(|one| self.passes(Schema::new(one), value, path)) {
            self.invalid(path, &shown, "must validate at least one schema (anyOf)");
        }
        let fitting = limits.one.iter().filter(|one| self.passes(Schema::new(one), value, path)).count();
        if !limits.one.is_empty() && fitting != 1 {
            self.invalid(path, &shown, "must validate one and only one schema (oneOf)");
        }
        if limits.not.as_ref().is_some_and(|not| self.passes(Schema::new(not), value, path)) {
            self.invalid(path, &shown, "must not validate the schema (not)");
        }
    }

    fn allowed(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) {
        let Some(allowed) = schema.limits().and_then(|limits| limits.allowed.as_ref()) else { return };
        if !allowed.contains(value) {
            let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
            self.refuse(path, "FieldValueNotSupported", message);
        }
    }

    fn count(&mut self, path: &At<'_>, count: usize, [most, least]: [Option<usize>; 2], noun: &str) {
        if let Some(most) = most.filter(|most| count > *most) {
            let message = format!("Too many: {count}: must have at most {most} items");
            self.refuse(path, "FieldValueTooMany", message);
        }
        if let Some(least) = least.filter(|least| count < *least) {
            self.invalid(path, &json!(count), &format!("should have at least {least} {noun}"));
        }
    }

    fn list(&mut self, schema: Schema<'_>, list: &[Value], path: &At<'_>) {
        if let Some(limits) = schema.limits() {
            self.count(path, list.len(), limits.items, "items");
        }
        if let Some(items) = schema.items() {
            for (at, item) in list.iter().enumerate() {
                self.value(items, item, &At::Item(path, at));
            }
        }
        let identity = |item: &Value| match schema.list() {
            ListKind::Atomic => None,
            ListKind::Set => Some(item.clone()),
            ListKind::Map(keys) => {
                let pairs = keys.iter().filter_map(|k| Some((k.clone(), item.get(k)?.clone())));
                Some(Value::Object(pairs.collect::<Map<_, _>>()))
            }
        };
        for (at, item) in list.iter().enumerate() {
            let Some(own) = identity(item) else { return };
            if list.iter().take(at).any(|earlier| identity(earlier).as_ref() == Some(&own)) {
                self.refuse(&At::Item(path, at), "FieldValueDuplicate", format!("Duplicate value: {own}"));
            }
        }
    }

    fn text(&mut self, schema: Schema<'_>, text: &str, path: &At<'_>) {
        if let Some(limits) = schema.limits() {
            let [most, least] = limits.length;
            let length = text.chars().count() as u64;
            if let Some(most) = most.filter(|most| length > *most) {
                self.refuse(path, "FieldValueTooLong", format!("Too long: may not be more than {most} bytes"));
                return;
            }
            if let Some(least) = least.filter(|least| length < *least) {
                self.invalid(path, &json!(text), &format!("should be at least {least} chars long"));
            }
            if let Some(pattern) = limits.missed(text) {
                self.invalid(path, &json!(text), &format!("should match '{pattern}'"));
            }
        }
        let fits = match schema.format() {
            "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
            "byte" => {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.decode(text).is_ok()
            }
            _ => true,
        };
        if !fits {
            self.wrong_type(path, &json!(text), &format!("must be of type {}: \"{text}\"", schema.format()));
        }
    }

    fn number(&mut self, schema: Schema<'_>, value: &Value, path: &At<'_>) {
        let Some(limits) = schema.limits() else { return };
        let ([most, least], number) = (limits.number, value.as_f64().unwrap_or_default());
        if let Some(most) = most.filter(|most| number > *most) {
            self.invalid(path, value, &format!("should be less than or equal to {most}"));
        }
        if let Some(least) = least.filter(|least| number < *least) {
            self.invalid(path, value, &format!("should be greater than or equal to {least}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Root, custom_root};
    use super::*;

    fn messages(spec: &Value, object: &Value) -> Vec<String> {
        let root = json!({"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}});
        let root = Root::new(custom_root(&root).unwrap());
        let causes = validate(root.schema(), &json!({ "spec": object }), "");
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    #[test]
    fn schemas_are_joined_by_all_any_one_and_not() {
        let spec = json!({"type": "object", "properties": {
            "kind": {"type": "string", "allOf": [{"enum": ["LUKS", "Clevis"]}, {"enum": ["LUKS"]}]},
            "size": {"type": "integer", "anyOf": [{"maximum": 1}, {"minimum": 9}], "not": {"minimum": 20}},
        }, "oneOf": [{"required": ["kind"]}, {"required": ["size"]}]});
        assert!(messages(&spec, &json!({"kind": "LUKS"})).is_empty());
        assert!(messages(&spec, &json!({"size": 10})).is_empty());
        let both = messages(&spec, &json!({"kind": "LUKS", "size": 1}));
        assert_eq!(both, ["spec: Invalid value: \"\": spec in body must validate one and only one schema (oneOf)"]);
        let message = |field: &str, why: &str| vec![format!("spec.{field}: {why}")];
        let clevis = message("kind", "Unsupported value: \"Clevis\": supported values: \"LUKS\"");
        assert_eq!(messages(&spec, &json!({"kind": "Clevis"})), clevis);
        let middle = "Invalid value: 5: spec.size in body must validate at least one schema (anyOf)";
        assert_eq!(messages(&spec, &json!({"size": 5})), message("size", middle));
        let large = "Invalid value: 30: spec.size in body must not validate the schema (not)";
        assert_eq!(messages(&spec, &json!({"size": 30})), message("size", large));
    }

    #[test]
    fn refusals_have_the_words_of_the_real_validator() {
        let spec = json!({
            "type": "object",
            "required": ["color"],
            "properties": {
                "color": {"type": "string", "enum": ["red", "green"]},
                "size": {"type": "integer", "minimum": 1},
                "port": {"x-kubernetes-int-or-string": true},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            },
        });
        assert_eq!(messages(&spec, &json!({})), ["spec.color: Required value"]);
        assert_eq!(
            messages(&spec, &json!({"color": "pink", "size": 0, "port": true, "tags": ["a", 1, "a"]})),
            [
                "spec.color: Unsupported value: \"pink\": supported values: \"red\", \"green\"",
                "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
                "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
                "spec.tags[1]: Invalid value: \"integer\": spec.tags[1] in body must be of type string: \"integer\"",
                "spec.tags[2]: Duplicate value: \"a\"",
            ]
        );
        assert_eq!(messages(&spec, &json!({"color": "red", "size": 2, "port": "http"})), Vec::<String>::new());
    }
}
