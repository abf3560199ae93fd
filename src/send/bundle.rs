//! One run as one file, for whoever helps: its results directory without secrets.
//!
//! Knows a run's directory and what of it may leave ([`super::redact`]). What can't be read as text can't be redacted
//! and stays out; what stays out is told in the file `BUNDLE.txt` of the bundle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use secrecy::SecretString;
use tar::{Builder, Header};

use super::redact::Redactor;

/// Largest file that is packed, in bytes: it is held in memory while it is redacted.
const LARGEST: u64 = 256 * 1024 * 1024;
/// What tells who works with a ledger right now.
const LOCK: &str = "ledger.lock";

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("failed to read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write the bundle: {0}")]
    Write(io::Error),
}

/// What is in a bundle.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// By path in the run's directory: bytes and masked places.
    pub files: BTreeMap<String, (usize, usize)>,
    /// What stayed out, and why.
    pub left_out: BTreeMap<String, String>,
}

impl Packed {
    /// Places that were masked.
    pub fn masked(&self) -> usize {
        self.files.values().map(|(_, masked)| masked).sum()
    }

    fn text(&self, run: &str) -> String {
        let mut out = format!(
            "Results of run {run} without secrets: a place that held one, or looked so, says {}.\n\
             Names of VMs, hosts and networks, addresses and MACs are in it.\n\n\
             bytes\tmasked\tfile\n",
            super::redact::MASK
        );
        for (file, (bytes, masked)) in &self.files {
            let _ = writeln!(out, "{bytes}\t{masked}\t{file}");
        }
        if !self.left_out.is_empty() {
            let _ = writeln!(out, "\nleft out:");
        }
        for (file, why) in &self.left_out {
            let _ = writeln!(out, "{file}: {why}");
        }
        out
    }
}

/// Packs the directory of `run` as tar and gzip into `to`. `secrets`: what is known to be secret, the ledger's own
/// besides.
pub fn pack<'a>(
    dir: &Path,
    run: &str,
    secrets: impl Iterator<Item = &'a SecretString>,
    to: impl Write,
) -> Result<Packed, BundleError> {
    let redactor = Redactor::new(secrets);
    let mut packed = Packed::default();
    let mut files = Vec::new();
    walk(dir, Path::new(""), &mut files, &mut packed.left_out)?;
    files.sort();
    let mut archive = Builder::new(GzEncoder::new(to, Compression::default()));
    for relative in files {
        let (path, name) = (dir.join(&relative), relative.display().to_string());
        if relative == Path::new(LOCK) {
            continue;
        }
        let found = fs::metadata(&path).and_then(|found| Ok((found.len(), found.modified()?)));
        let (size, modified) = match found {
            Ok(found) => found,
            // A run that goes on may have taken it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(BundleError::Read { path, source }),
        };
        if size > LARGEST {
            packed.left_out.insert(name, format!("{size} bytes are too many to be redacted"));
            continue;
        }
        let bytes = fs::read(&path).map_err(|source| BundleError::Read { path: path.clone(), source })?;
        let Ok(text) = String::from_utf8(bytes) else {
            packed.left_out.insert(name, "no text, so it can't be redacted".to_owned());
            continue;
        };
        let (text, masked) = redactor.text(&text);
        let at = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        // Its own name may be a secret's, too.
        let (shown, _) = redactor.text(&name);
        append(&mut archive, run, &shown, &text, at).map_err(BundleError::Write)?;
        packed.files.insert(shown, (text.len(), masked));
    }
    let told = packed.text(run);
    let now = u64::try_from(crate::clock::now().as_second()).unwrap_or_default();
    append(&mut archive, run, "BUNDLE.txt", &told, now).map_err(BundleError::Write)?;
    let whole = archive.into_inner().and_then(GzEncoder::finish).and_then(|mut to| to.flush());
    whole.map_err(BundleError::Write)?;
    Ok(packed)
}

fn append(archive: &mut Builder<impl Write>, run: &str, name: &str, text: &str, at: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(at);
    archive.append_data(&mut header, Path::new(run).join(name), text.as_bytes())
}

/// The files below `dir`; links stay out, wherever they lead.
fn walk(
    dir: &Path,
    below: &Path,
    files: &mut Vec<PathBuf>,
    left_out: &mut BTreeMap<String, String>,
) -> Result<(), BundleError> {
    let path = dir.join(below);
    let fail = |source| BundleError::Read { path: path.clone(), source };
    for entry in fs::read_dir(&path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let relative = below.join(entry.file_name());
        let kind = entry.file_type().map_err(fail)?;
        if kind.is_dir() {
            walk(dir, &relative, files, left_out)?;
        } else if kind.is_file() {
            files.push(relative);
        } else {
            left_out.insert(relative.display().to_string(), "neither a file nor a directory".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    /// What is in a bundle, by path.
    fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(bytes));
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn secrets_that_were_planted_everywhere_are_in_no_file_and_everything_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        // By its value, where no key tells it; by keys; by shapes.
        let known = SecretString::from("kn0wn-by-value".to_owned());
        let planted = [
            "kn0wn-by-value",
            "a25vd24tYnktdmFsdWU",
            "kn0wn-by-key",
            "sha256~kn0wn-by-its-shape",
            "kn0wn-in-json",
            "a25vd24taW4tYS1zZWNyZXQ",
            "kn0wn-in-cloud-init",
            "kn0wn-in-a-url",
            "kn0wn-in-a-key",
            "kn0wn-as-a-mark",
        ];
        write("events.jsonl", b"{\"seq\":1,\"message\":\"login with kn0wn-by-value was refused by vcenter.lab\"}\n");
        write("ledger.jsonl", b"{\"what\":\"opened\",\"run\":\"mm-abcdefghij\",\"secret\":\"kn0wn-as-a-mark\"}\n");
        write(
            "artifacts/c/log.txt",
            b"env PASSWORD=kn0wn-by-key\nto https://u:kn0wn-in-a-url@host/x\nsha256~kn0wn-by-its-shape\n",
        );
        write(
            "artifacts/c/vm.yaml",
            b"kind: VirtualMachine\nspec:\n  userData: |\n    password is kn0wn-in-cloud-init\n  cpu: 4\n",
        );
        write(
            "artifacts/c/secrets.yaml",
            b"kind: Secret\ndata:\n  any: a25vd24taW4tYS1zZWNyZXQ=\n  it: a25vd24tYnktdmFsdWU=\n",
        );
        write("artifacts/c/inventory.json", br#"{"note":"{\"password\":\"kn0wn-in-json\"}","name":"mtv-tests-rhel8"}"#);
        write(
            "report.html",
            b"<p>-----BEGIN PRIVATE KEY-----\nkn0wn-in-a-key\n-----END PRIVATE KEY-----</p><p>disk-count</p>",
        );
        write("artifacts/c/kn0wn-by-value.log", b"x");
        write("artifacts/c/core", b"\xff\xfe kn0wn-by-value");
        write("ledger.lock", b"{}");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("artifacts/passwd")).unwrap();
        let mut bytes = Vec::new();
        let packed = pack(dir.path(), "mm-abcdefghij", [&known].into_iter(), &mut bytes).unwrap();
        let files = unpacked(&bytes);
        for (name, text) in &files {
            for secret in planted {
                assert!(!text.contains(secret) && !name.contains(secret), "{secret} in {name}:\n{text}");
            }
        }
        let text = |name: &str| &files[&format!("mm-abcdefghij/{name}")];
        assert!(text("events.jsonl").contains("was refused by vcenter.lab"));
        assert!(text("artifacts/c/vm.yaml").contains("cpu: 4"));
        assert!(text("artifacts/c/inventory.json").contains("mtv-tests-rhel8"));
        assert!(text("report.html").contains("disk-count"));
        assert!(
            text("BUNDLE.txt").contains("artifacts/c/core: no text") && text("BUNDLE.txt").contains("artifacts/passwd")
        );
        assert_eq!((packed.files.len(), packed.left_out.len(), files.len()), (8, 2, 9));
        assert!(packed.masked() >= planted.len() - 1, "{packed:?}");
    }
}
