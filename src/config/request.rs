//! What is to be loaded: files, variables, flags. What becomes of them is `load`'s matter.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// What to read.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// Files and directories, lowest first.
    pub config: Vec<PathBuf>,
    /// `None`: `MTV_SECRETS_DIR`, else the default mount if it exists.
    pub secrets_dir: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8.
    pub env_not_text: Vec<String>,
    /// `key=value`.
    pub set: Vec<String>,
    /// Key, value, name of the flag.
    pub flags: Vec<(String, Value, String)>,
    /// Text and origin of a provider file that stands in for `providers_json` (the lab's).
    pub providers_text: Option<(String, String)>,
    /// Whether the shipped scenarios are there.
    pub scenarios_default: bool,
}

impl LoadRequest {
    /// With the variables of this process; a value that is not UTF-8 is told where it is one of ours.
    pub fn with_environment(mut self) -> Self {
        for (name, value) in std::env::vars_os() {
            // The names of ours are ASCII.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    self.env.insert(name, value);
                }
                Err(_) => self.env_not_text.push(name),
            }
        }
        self
    }
}
