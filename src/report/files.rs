//! The room's one door to the disk: a run's files are read and written here, everything else folds events.
//!
//! What is written appears whole or not at all, but for the event log, which grows as the run goes.

pub(super) use std::fs::File;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ReportError;

/// Why a file was not filled: what is to stand in it could not be made, or could not be written.
#[derive(Debug)]
pub enum FillError {
    Make(ReportError),
    Write(io::Error),
}

impl From<io::Error> for FillError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<ReportError> for FillError {
    fn from(error: ReportError) -> Self {
        Self::Make(error)
    }
}

/// The file's bytes; `None`: it is not there.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file, to be read line by line.
pub(super) fn open(path: &Path) -> io::Result<BufReader<File>> {
    File::open(path).map(|file| BufReader::with_capacity(64 * 1024, file))
}

/// That many bytes from there on.
pub(super) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// What grows as a run goes and is read once, at its end.
pub(super) type Spool = tempfile::SpooledTempFile;

/// In memory up to a megabyte, then in a file of `dir` without a name, which is gone with the process.
pub(super) fn spool(dir: &Path) -> Spool {
    tempfile::spooled_tempfile_in(1024 * 1024, dir)
}

/// A file to append to, which must not be there yet.
pub(super) fn create_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).open(path)
}

pub(super) fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// The path without links.
pub(super) fn real(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

/// The directories in `dir`; links to others are none.
pub(super) fn directories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

pub(super) fn make_directory(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// Copies a file, and makes the directory that it goes to; nothing where it is not there.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        make_directory(parent)?;
    }
    match std::fs::copy(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Likewise, with all that a directory holds. Links are left out: they may lead elsewhere.
pub(super) fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(from) {
        Ok(about) if about.is_dir() => {
            for entry in std::fs::read_dir(from)? {
                let entry = entry?;
                copy_all(&entry.path(), &to.join(entry.file_name()))?;
            }
            Ok(())
        }
        Ok(about) if about.is_symlink() => Ok(()),
        _ => copy(from, to),
    }
}

/// Writes the whole file, or leaves what was there. Two shards may join their set at the same time.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with(path, |out| out.write_all(content))
}

/// [`write`], of what `fill` writes piece by piece.
pub(super) fn write_with<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any other file: what the umask allows. Where it can't be written whole it goes, for half of a report takes
    // the room that the next one may need.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(dir)?;
    let mut out = BufWriter::with_capacity(128 * 1024, &mut file);
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_replaced_whole_and_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        std::fs::write(&path, "old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_ne!(mode & 0o044, 0, "{mode:o}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(write(&dir.path().join("none/run.json"), b"new").is_err());
    }

    #[test]
    fn a_folder_is_copied_with_all_that_it_holds_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("namespaces/mtv")).unwrap();
        std::fs::write(from.join("namespaces/mtv/plan.yaml"), "kind: Plan\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("namespaces/link")).unwrap();
        copy_all(&from, &to).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("namespaces/mtv/plan.yaml")).unwrap(), "kind: Plan\n");
        assert!(!to.join("namespaces/link").exists());
        copy_all(&dir.path().join("none"), &to).unwrap();
    }
}
