//! A share with exported VMs: a directory of OVF files, each in a folder of its own.
//!
//! The lab cannot mount NFS, so its MTV reads the same directory: the share `127.0.0.1:/path` is the
//! local directory `/path`. The OVF files are real XML; the disks beside them are not there, because
//! nothing of the lab reads a disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::roster::{Machine, Roster};
use super::{LabPlatform, PlatformOptions};
use crate::api::world::{Kind, Vm};
use crate::error::LabError;
use crate::ports::GuestDirectory;
use crate::scratch::Scratch;

mod ovf;

/// First four bytes of the MACs that are made up.
const MACS: &str = "00:50:56:0a";

/// The lab's share.
pub struct Ova {
    roster: Arc<Roster>,
    share: Share,
}

/// A directory that goes when the lab does.
struct Share {
    dir: Scratch,
    /// Names and contents as written.
    files: Mutex<Vec<(PathBuf, String)>>,
}

impl Share {
    fn write(roster: &Roster) -> std::io::Result<Self> {
        let dir = Scratch::new("ova")?;
        let share = Self { dir, files: Mutex::default() };
        share.add(roster, &roster.machines())?;
        Ok(share)
    }

    fn add(&self, roster: &Roster, machines: &[Machine]) -> std::io::Result<()> {
        for machine in machines {
            let dir = self.dir.path().join(&machine.name);
            std::fs::create_dir_all(&dir)?;
            let file = dir.join(format!("{}.ovf", machine.name));
            let text = ovf::document(machine, &roster.networks);
            std::fs::write(&file, &text)?;
            self.files.lock().unwrap_or_else(PoisonError::into_inner).push((file, text));
        }
        Ok(())
    }

    /// What is not as it was written.
    fn changes(&self) -> Vec<String> {
        let unlike = |(file, text): &&(PathBuf, String)| std::fs::read_to_string(file).ok().as_ref() != Some(text);
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter(unlike).map(|(file, _)| format!("OVF {} was changed", shown(file))).collect()
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

impl Ova {
    pub fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let roster = Roster::new(&options.world.ova, MACS);
        let share = Share::write(&roster)
            .map_err(|e| LabError::Start { part: "OVA share".to_owned(), cause: e.to_string() })?;
        Ok(Self { roster: Arc::new(roster), share })
    }
}

#[async_trait]
impl LabPlatform for Ova {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "ova",
            "version": "1",
            "api_url": format!("127.0.0.1:{}", shown(self.share.dir.path())),
            "vms": self.roster.vms(),
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
        });
        vec![("ova".to_owned(), profile)]
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.roster.clone()
    }

    fn leftovers(&self) -> Vec<String> {
        self.share.changes()
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Ova {
            let made = self.roster.grow(vms);
            self.share.add(&self.roster, &made)?;
        }
        Ok(())
    }

    fn directories(&self) -> Vec<PathBuf> {
        vec![self.share.dir.path().to_owned()]
    }

    fn requests(&self) -> (&'static str, u64) {
        // Files are read, not asked for.
        ("ova_requests", 0)
    }

    async fn stop(&self) {}
}
