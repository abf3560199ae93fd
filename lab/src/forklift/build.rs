//! A folder with a build of Forklift: what has to be in it, and which version it is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CONTROLLER: &str = "forklift-controller";
const API: &str = "forklift-api";
/// One line: the version, and after a space the commit where it is known.
const VERSION: &str = "version";
/// Kinds without which no migration can be asked for.
const NEEDED: &[&str] =
    &["forkliftcontrollers", "hooks", "hosts", "migrations", "networkmaps", "plans", "providers", "storagemaps"];

/// A folder that was found to be complete.
#[derive(Debug, Clone)]
pub struct Build {
    pub dir: PathBuf,
    pub controller: PathBuf,
    /// Without it there are no admission webhooks.
    pub api: Option<PathBuf>,
    /// This version's CustomResourceDefinitions.
    pub crds: Vec<Value>,
    /// e.g. `2.12.5`.
    pub version: String,
    pub commit: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{dir}: {what}")]
    Incomplete { dir: PathBuf, what: String },
    #[error("{path}: {cause}")]
    Unreadable { path: PathBuf, cause: String },
}

impl Build {
    /// Looks at a folder; `version` is what the user says it is.
    pub fn open(dir: &Path, version: Option<&str>) -> Result<Self, BuildError> {
        let dir =
            &dir.canonicalize().map_err(|e| BuildError::Unreadable { path: dir.to_owned(), cause: e.to_string() })?;
        let incomplete = |what: String| BuildError::Incomplete { dir: dir.clone(), what };
        let executable = |name: &str| {
            let path = dir.join(name);
            let mode = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.permissions().mode();
            (mode & 0o111 != 0).then_some(path)
        };
        let Some(controller) = executable(CONTROLLER) else {
            return Err(incomplete(format!(
                "there is no executable `{CONTROLLER}`; it is /usr/local/bin/{CONTROLLER} in MTV's controller image"
            )));
        };
        let crds = crds(&dir.join("crds"))?;
        let missing: Vec<&str> = NEEDED
            .iter()
            .copied()
            .filter(|plural| !crds.iter().any(|crd| crd["spec"]["names"]["plural"] == **plural))
            .collect();
        if !missing.is_empty() {
            return Err(incomplete(format!(
                "`crds/` lacks the CustomResourceDefinitions of {}; they are in /manifests of MTV's operator bundle image",
                missing.join(", ")
            )));
        }
        let told = std::fs::read_to_string(dir.join(VERSION)).unwrap_or_default();
        let mut words = told.split_whitespace().map(str::to_owned);
        let named = || dir.file_name().map(|name| name.to_string_lossy().trim_start_matches('v').to_owned());
        let found = version.map(str::to_owned).or_else(|| words.next()).or_else(named).unwrap_or_default();
        let numbers = found.split('.').map_while(|part| part.parse::<u32>().ok()).count();
        if numbers < 2 {
            return Err(incomplete(format!(
                "which version of MTV this is nobody says: name the folder by it (e.g. 2.12.5), or write it, and after a \
                 space the commit, into a file `{VERSION}` there"
            )));
        }
        Ok(Self {
            dir: dir.clone(),
            api: executable(API),
            commit: words.next().or_else(|| commit(&controller)),
            controller,
            crds,
            version: found,
        })
    }

    /// The name of an image that holds it: what a cluster says of the MTV it has.
    pub fn image(&self) -> String {
        let commit = self.commit.iter().map(|commit| format!("-{}", commit.chars().take(12).collect::<String>()));
        format!("lab/forklift:{}{}", self.version, commit.collect::<String>())
    }

    /// e.g. `2.12.5 (d42511bb)`.
    pub fn label(&self) -> String {
        match &self.commit {
            Some(commit) => format!("{} ({})", self.version, commit.chars().take(12).collect::<String>()),
            None => self.version.clone(),
        }
    }
}

/// The definitions in every YAML file of a folder.
fn crds(dir: &Path) -> Result<Vec<Value>, BuildError> {
    let unreadable = |path: &Path, cause: String| BuildError::Unreadable { path: path.to_owned(), cause };
    let entries = std::fs::read_dir(dir).map_err(|e| unreadable(dir, e.to_string()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml")) {
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, e.to_string()))?;
        for document in
            text.split("\n---").map(|part| part.trim_start_matches("---")).filter(|part| !part.trim().is_empty())
        {
            let parsed: Value = serde_saphyr::from_str(document).map_err(|e| unreadable(path, e.to_string()))?;
            if parsed["kind"] == "CustomResourceDefinition" {
                all.push(parsed);
            }
        }
    }
    Ok(all)
}

/// What the Go toolchain wrote into the executable of the tree it was built from.
fn commit(executable: &Path) -> Option<String> {
    const KEY: &[u8] = b"vcs.revision=";
    let bytes = std::fs::read(executable).ok()?;
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let hex: String = bytes.get(at..)?.iter().take_while(|b| b.is_ascii_hexdigit()).map(|b| char::from(*b)).collect();
    (hex.len() == 40).then_some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(name);
        std::fs::create_dir_all(dir.join("crds")).unwrap();
        (root, dir)
    }
    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    fn crd(plural: &str) -> String {
        format!("---\nkind: CustomResourceDefinition\nspec:\n  names:\n    plural: {plural}\n")
    }

    #[test]
    fn an_incomplete_folder_is_refused_with_what_it_lacks_and_where_that_is_found() {
        let (_root, dir) = folder("2.12.5");
        let refused = |dir: &Path| Build::open(dir, None).unwrap_err().to_string();
        assert!(refused(&dir).contains("no executable `forklift-controller`"), "{}", refused(&dir));
        put(&dir, CONTROLLER, "");
        put(&dir, "crds/a.yaml", &NEEDED[1..].iter().map(|plural| crd(plural)).collect::<String>());
        assert!(refused(&dir).contains("CustomResourceDefinitions of forkliftcontrollers;"), "{}", refused(&dir));
        put(&dir, "crds/b.yml", &crd(NEEDED[0]));
        let build = Build::open(&dir, None).unwrap();
        assert_eq!((build.version.as_str(), build.api.is_some(), build.crds.len()), ("2.12.5", false, NEEDED.len()));
    }

    #[test]
    fn the_version_is_what_the_user_says_else_the_file_else_the_folders_name() {
        let (_root, dir) = folder("my-build");
        put(&dir, CONTROLLER, &format!("\0build\tvcs.revision={}\n\0", "a1".repeat(20)));
        put(&dir, "crds/a.yaml", &NEEDED.iter().map(|plural| crd(plural)).collect::<String>());
        assert!(Build::open(&dir, None).unwrap_err().to_string().contains("which version"));
        put(&dir, VERSION, "2.13.0 0123456789abcdef\n");
        assert_eq!(Build::open(&dir, None).unwrap().label(), "2.13.0 (0123456789ab)");
        put(&dir, VERSION, "2.13.0\n");
        assert_eq!(Build::open(&dir, None).unwrap().label(), "2.13.0 (a1a1a1a1a1a1)");
        assert_eq!(Build::open(&dir, Some("2.12.5")).unwrap().version, "2.12.5");
    }
}
