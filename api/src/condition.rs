//! Conditions as Forklift and Kubernetes write them, and the questions we ask of them.
//!
//! Forklift removes a condition that no longer holds instead of turning it `False`
//! (forklift.md §1.2), so *absent* and *not true* are the same answer here.

use serde::{Deserialize, Serialize};

/// One entry of `status.conditions[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What the condition is about, unique within one object.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Forklift only: `Critical`, `Error`, `Warn`, `Required`, `Advisory`; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// A machine-readable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// RFC 3339; kept as text, because writers differ in precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// Forklift only: survives the next reconcile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
    /// Forklift only: the VMs or keys that the condition speaks of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
}

impl Condition {
    /// Whether the condition holds.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether Forklift refuses to go on while this condition holds.
    pub fn is_blocker(&self) -> bool {
        self.is_true() && matches!(self.category.as_deref(), Some("Critical" | "Error"))
    }

    /// One line for people: `Type (Category, Reason): message [items]`.
    pub fn line(&self) -> String {
        let mut line = self.type_.clone();
        let notes: Vec<&str> = [self.category.as_deref(), self.reason.as_deref()]
            .into_iter()
            .flatten()
            .filter(|s| !s.is_empty())
            .collect();
        if !notes.is_empty() {
            line.push_str(&format!(" ({})", notes.join(", ")));
        }
        if let Some(message) = self.message.as_deref().filter(|m| !m.is_empty()) {
            line.push_str(": ");
            line.push_str(message);
        }
        if !self.items.is_empty() {
            let items: Vec<&str> = self.items.iter().map(|i| i.trim()).collect();
            line.push_str(&format!(" [{}]", items.join("; ")));
        }
        line
    }
}

/// Questions to a list of conditions.
pub trait Conditions {
    /// The condition of that type, whatever its status.
    fn find(&self, type_: &str) -> Option<&Condition>;
    /// Whether the condition of that type exists and is `True`.
    fn holds(&self, type_: &str) -> bool {
        self.find(type_).is_some_and(Condition::is_true)
    }
    /// Those that stop Forklift.
    fn blockers(&self) -> Vec<&Condition>;
    /// All that hold, in one line, for messages; `no conditions` where there are none.
    fn summary(&self) -> String;
}

impl Conditions for [Condition] {
    fn find(&self, type_: &str) -> Option<&Condition> {
        self.iter().find(|c| c.type_ == type_)
    }
    fn blockers(&self) -> Vec<&Condition> {
        self.iter().filter(|c| c.is_blocker()).collect()
    }
    fn summary(&self) -> String {
        let held: Vec<String> = self.iter().filter(|c| c.is_true()).map(Condition::line).collect();
        if held.is_empty() { "no conditions".to_owned() } else { held.join("; ") }
    }
}
