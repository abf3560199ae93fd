//! Defects and variations of what is *written*: one change of one field in one object of a migrated VM.
//!
//! A [`Written`] says which object, where (a JSON pointer; `*` is every element), what happens there, and which
//! check must notice. They are made on the objects of one good run, or (a VM's) when the lab's MTV creates it.
//! Knows JSON alone.

use serde_json::Value;

/// The object that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The VirtualMachine; what is changed in its template is changed in its instance, too.
    Vm,
    /// The VirtualMachineInstance.
    Vmi,
    /// The first disk's PersistentVolumeClaim.
    Claim,
    Plan,
    Migration,
    /// The source VM after the migration, as its driver tells it.
    Source,
    /// The list of everything that carries the migration's label.
    Marked,
}

impl Object {
    /// Heading of its group.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vm => "VirtualMachine",
            Self::Vmi => "VirtualMachineInstance",
            Self::Claim => "PersistentVolumeClaim",
            Self::Plan => "Plan",
            Self::Migration => "Migration",
            Self::Source => "source VM afterwards",
            Self::Marked => "what is left",
        }
    }
}

/// What happens at the place.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// This JSON stands there; objects on the way are made.
    Set(&'static str),
    Remove,
    /// The list has this JSON at its end.
    Push(&'static str),
    /// Likewise, at its beginning.
    Front(&'static str),
    /// A text in capitals.
    Upper,
    /// The list has its last element twice.
    Double,
    /// The list has lost its last element.
    Drop,
    /// The first two elements of the list change places.
    Swap,
    /// A boolean is the other one.
    Flip,
    /// What stands at this pointer stands here, too.
    Copy(&'static str),
    /// The whole object is gone.
    Gone,
}

/// One change, and who must notice it: nobody, where it is a variation.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub name: &'static str,
    pub object: Object,
    pub path: &'static str,
    pub change: Change,
    /// The check that must fail, then those that may fail besides.
    pub caught_by: &'static [&'static str],
    /// On these platforms alone; empty: on all.
    pub on: &'static [&'static str],
    pub not_on: &'static [&'static str],
}

pub(super) const fn change(
    name: &'static str,
    object: Object,
    path: &'static str,
    change: Change,
    caught_by: &'static [&'static str],
) -> Written {
    Written { name, object, path, change, caught_by, on: &[], not_on: &[] }
}

impl Written {
    pub(super) const fn on(self, on: &'static [&'static str]) -> Self {
        Self { on, ..self }
    }
    pub(super) const fn not_on(self, not_on: &'static [&'static str]) -> Self {
        Self { not_on, ..self }
    }
    /// Whether it means something on a platform.
    pub fn fits(&self, platform: &str) -> bool {
        (self.on.is_empty() || self.on.contains(&platform)) && !self.not_on.contains(&platform)
    }
    /// Makes the change. `false`: the object has no such place, or nothing would be changed.
    pub fn apply(&self, object: &mut Value) -> bool {
        apply(object, self.path, self.change)
    }
}

fn parsed(json: &str) -> Value {
    // A text that is no JSON stands for itself: the catalogue is read by people.
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}

/// Makes one change at a JSON pointer, in which `*` is every element of a list.
pub fn apply(object: &mut Value, path: &str, change: Change) -> bool {
    let before = object.clone();
    if let Change::Gone = change {
        *object = Value::Null;
    } else if let Some((head, tail)) = path.split_once("/*") {
        for item in object.pointer_mut(head).and_then(Value::as_array_mut).into_iter().flatten() {
            apply(item, tail, change);
        }
    } else {
        at(object, path, change);
    }
    *object != before
}

fn at(object: &mut Value, path: &str, change: Change) {
    match change {
        Change::Set(json) => set(object, path, parsed(json)),
        Change::Copy(from) => {
            if let Some(value) = object.pointer(from).cloned() {
                set(object, path, value);
            }
        }
        Change::Remove => {
            let Some((parent, key)) = path.rsplit_once('/') else { return };
            match object.pointer_mut(parent) {
                Some(Value::Object(fields)) => _ = fields.shift_remove(&unescaped(key)),
                Some(Value::Array(items)) => {
                    if let Some(index) = key.parse().ok().filter(|index| *index < items.len()) {
                        items.remove(index);
                    }
                }
                _ => {}
            }
        }
        Change::Push(json) => match object.pointer_mut(path) {
            Some(Value::Array(items)) => items.push(parsed(json)),
            _ => set(object, path, Value::Array(vec![parsed(json)])),
        },
        Change::Front(json) => {
            if let Some(Value::Array(items)) = object.pointer_mut(path) {
                items.insert(0, parsed(json));
            }
        }
        Change::Upper => {
            if let Some(Value::String(text)) = object.pointer_mut(path) {
                *text = text.to_uppercase();
            }
        }
        Change::Double => {
            if let Some(Value::Array(items)) = object.pointer_mut(path) {
                items.extend(items.last().cloned());
            }
        }
        Change::Drop => {
            if let Some(Value::Array(items)) = object.pointer_mut(path) {
                items.pop();
            }
        }
        Change::Swap => {
            if let Some(Value::Array(items)) = object.pointer_mut(path)
                && items.len() > 1
            {
                items.swap(0, 1);
            }
        }
        Change::Flip => {
            if let Some(Value::Bool(switch)) = object.pointer_mut(path) {
                *switch = !*switch;
            }
        }
        Change::Gone => {}
    }
}

/// Puts a value there. An element of a list must exist; objects on the way need not.
fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for part in path.split('/').skip(1) {
        place = match place {
            Value::Array(items) => match part.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            Value::Object(fields) => fields.entry(unescaped(part)).or_insert(Value::Null),
            empty => {
                // Nobody begins a list by setting an element of it.
                if part.bytes().all(|b| b.is_ascii_digit()) {
                    return;
                }
                *empty = Value::Object(serde_json::Map::new());
                match empty {
                    Value::Object(fields) => fields.entry(unescaped(part)).or_insert(Value::Null),
                    _ => return,
                }
            }
        };
    }
    *place = value;
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_made_at_its_place_and_nowhere_else() {
        let of = |path, change| {
            let mut object = json!({"a": {"b/c": 1}, "l": [{"n": 1}, {"n": 2}], "s": true});
            let changed = apply(&mut object, path, change);
            (changed, object)
        };
        assert_eq!(of("/a/b~1c", Change::Remove).1["a"], json!({}));
        assert_eq!(of("/x/y", Change::Set("\"z\"")).1["x"], json!({"y": "z"}));
        assert_eq!(of("/l/*/n", Change::Set("7")).1["l"], json!([{"n": 7}, {"n": 7}]));
        assert_eq!(of("/l", Change::Swap).1["l"], json!([{"n": 2}, {"n": 1}]));
        assert_eq!(of("/s", Change::Flip).1["s"], json!(false));
        assert_eq!(of("/l/0/n", Change::Copy("/l/1/n")).1["l"][0], json!({"n": 2}));
        assert!(!of("/l/9/n", Change::Set("1")).0 && !of("/nowhere", Change::Remove).0);
    }
}
