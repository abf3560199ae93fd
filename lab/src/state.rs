//! `lab --state DIR`: what a lab needs to be the same cluster when it is started again. Objects of the API server, its admin's
//! tokens, the key of the CA, the ports of all endpoints, what is on the platforms and what sessions left in guests. Written when
//! the lab ends in an orderly way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::LabError;

const FILE: &str = "lab.json";
const VERSION: u32 = 1;

/// Ports by the names of what listens on them.
pub type Ports = Arc<Mutex<BTreeMap<String, u16>>>;

tokio::task_local! {
    /// While a lab starts.
    pub static PORTS: Ports;
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    version: u32,
    token: String,
    ca_key: String,
    ports: BTreeMap<String, u16>,
    api: Value,
    /// By name; a file of a lab that kept none has none.
    #[serde(default)]
    platforms: BTreeMap<String, Value>,
    #[serde(default)]
    guests: Value,
}

/// What a lab is when it ends.
#[derive(Default)]
pub struct Parts {
    pub api: Value,
    pub platforms: BTreeMap<String, Value>,
    pub guests: Value,
}

/// A folder that a lab is kept in.
pub struct Kept {
    path: PathBuf,
    file: File,
    ports: Ports,
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "state".to_owned(), cause: format!("{}: {cause}", path.display()) }
}

impl Kept {
    /// Reads what the last lab left; a folder without is a new one's.
    pub fn open(dir: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let path = dir.join(FILE);
        let file: File = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| failed(&path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => File { version: VERSION, ..File::default() },
            Err(e) => return Err(failed(&path, e)),
        };
        if file.version != VERSION {
            return Err(failed(&path, format!("its version is {}, this lab reads {VERSION}", file.version)));
        }
        let ports = Arc::new(Mutex::new(file.ports.clone()));
        Ok(Self { path, file, ports })
    }

    pub fn ports(&self) -> Ports {
        self.ports.clone()
    }

    /// The CA's key as PEM.
    pub fn ca_key(&self) -> Option<&str> {
        Some(self.file.ca_key.as_str()).filter(|key| !key.is_empty())
    }

    pub fn token(&self) -> Option<&str> {
        Some(self.file.token.as_str()).filter(|token| !token.is_empty())
    }

    /// What the API server held.
    pub fn api(&self) -> Option<&Value> {
        Some(&self.file.api).filter(|api| api.is_object())
    }

    /// What was on the platforms.
    pub fn platforms(&self) -> &BTreeMap<String, Value> {
        &self.file.platforms
    }

    /// What sessions left in guests.
    pub fn guests(&self) -> Option<&Value> {
        Some(&self.file.guests).filter(|guests| guests.is_array())
    }

    /// Writes it for the next lab: whole, or not at all, and for nobody else to read.
    pub fn write(&self, token: &str, ca_key: String, parts: Parts) -> Result<(), LabError> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Parts { api, platforms, guests } = parts;
        let file = File { version: VERSION, token: token.to_owned(), ca_key, ports, api, platforms, guests };
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            // A temporary file is its owner's alone.
            let mut beside = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer(&mut beside, &file)?;
            beside.flush()?;
            beside.as_file().sync_all()?;
            beside.persist(&self.path).map(drop).map_err(|e| e.error)
        };
        write().map_err(|e| failed(&self.path, e))
    }
}

/// The port that a part of the lab had before; 0: none.
pub fn port_of(part: &str) -> u16 {
    let known = |ports: &Ports| ports.lock().unwrap_or_else(PoisonError::into_inner).get(part).copied();
    PORTS.try_with(known).ok().flatten().unwrap_or(0)
}

/// Remembers the port of a part, where a lab is kept.
pub fn remember(part: &str, port: u16) {
    let insert = |ports: &Ports| {
        ports.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), port);
    };
    // Nobody keeps it.
    let _ = PORTS.try_with(insert);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_by_the_next_lab_and_by_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        assert!(kept.api().is_none() && kept.token().is_none());
        kept.ports().lock().unwrap().insert("api".to_owned(), 7);
        let parts = Parts {
            api: serde_json::json!({"version": 3}),
            platforms: BTreeMap::from([("oVirt".to_owned(), serde_json::json!({"vms": {}}))]),
            guests: serde_json::json!([]),
        };
        kept.write("t", "key".to_owned(), parts).unwrap();
        let again = Kept::open(dir.path()).unwrap();
        assert_eq!((again.token(), again.ca_key(), again.ports.lock().unwrap()["api"]), (Some("t"), Some("key"), 7));
        assert_eq!(again.api().unwrap()["version"], 3);
        assert!(again.platforms()["oVirt"]["vms"].is_object() && again.guests().is_some());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::write(
            dir.path().join(FILE),
            "{\"version\": 9, \"token\": \"\", \"ca_key\": \"\", \"ports\": {}, \"api\": null}",
        )
        .unwrap();
        assert!(Kept::open(dir.path()).is_err_and(|e| e.to_string().contains("its version is 9")));
    }
}
