//! Folders in the system's temporary one that go with the lab. A lab that was killed leaves its own; the next one takes
//! it away: who lives holds a lock on its folder, which the kernel lets go with the process.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// What every such folder's name begins with.
const PREFIX: &str = "mtv-matrix-lab.";

/// A folder that goes when this does.
pub struct Scratch {
    dir: TempDir,
    _lock: File,
}

impl Scratch {
    /// A fresh one, after those of labs that are gone were taken away.
    pub fn new(part: &str) -> io::Result<Self> {
        let root = std::env::temp_dir();
        sweep(&root);
        Self::below(&root, part)
    }

    fn below(root: &Path, part: &str) -> io::Result<Self> {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let dir = tempfile::Builder::new().prefix(&format!("{PREFIX}{part}.")).tempdir_in(root)?;
            // Between the two another lab may have taken it for an abandoned one.
            if let Ok(lock) = File::open(dir.path())
                && lock.try_lock().is_ok()
                && dir.path().exists()
            {
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(io::Error::other("other labs take its folder away"))
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Takes away what nobody holds. What cannot be read or removed is somebody else's.
fn sweep(root: &Path) {
    let Ok(entries) = root.read_dir() else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not through a link: what it leads to is not the lab's.
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, folder = %entry.path().display(), "a dead lab's folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_lab_left_goes_and_what_a_living_one_holds_stays() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::below(root.path(), "ova").unwrap();
        let dead = root.path().join(format!("{PREFIX}ova.dead"));
        let other = root.path().join("somebody-elses");
        for folder in [&dead, &other] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("file"), "x").unwrap();
        }
        sweep(root.path());
        assert!(!dead.exists() && other.exists() && living.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
