//! What a datastore's browser finds: the files of the VMs that lie on it.

use super::fault::invalid_argument;
use super::value::{Obj, Val, mo, obj, time};
use super::xml::Node;
use crate::world::{Found, State, WorldError};

/// A search as it was asked for.
#[derive(Debug, Clone)]
pub struct Search {
    datastore: String,
    /// Below the datastore, without slashes around it; empty: its top.
    folder: String,
    patterns: Vec<String>,
    /// Folders below, too.
    deep: bool,
}

impl Search {
    /// Of `[datastore] folder`.
    pub fn of(state: &State, browser: &str, method: &Node) -> Result<Self, super::fault::Fault> {
        let path = method.text("datastorePath").unwrap_or_default().trim().to_owned();
        let (name, folder) = path
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(|| invalid_argument("datastorePath"))?;
        let own = browser.trim_start_matches("datastoreBrowser-");
        let known = state.datastores.iter().find(|store| store.name == name);
        // A host's browser, or another datastore's, may be asked as well.
        let store = known.or_else(|| state.datastore(own)).ok_or_else(|| invalid_argument("datastorePath"))?;
        let spec = method.child("searchSpec");
        let patterns = spec.into_iter().flat_map(|spec| spec.all("matchPattern"));
        Ok(Self {
            datastore: store.id.clone(),
            folder: below(folder).to_owned(),
            patterns: patterns.map(|pattern| pattern.text.trim().to_owned()).collect(),
            deep: method.name == "SearchDatastoreSubFolders_Task",
        })
    }

    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// A folder and its files, each folder that was asked for.
    pub fn run(&self, state: &State) -> Result<Vec<Found>, WorldError> {
        let files = files(state, &self.datastore);
        let matches = |name: &str| self.patterns.is_empty() || self.patterns.iter().any(|pattern| fits(pattern, name));
        let mut folders: Vec<&str> = files.iter().map(|(folder, ..)| folder.as_str()).collect();
        folders.dedup();
        let of = |folder: &str| {
            let mut found: Vec<(String, i64, bool)> = files
                .iter()
                .filter(|(own, name, _)| own == folder && matches(name))
                .map(|(_, name, size)| (name.clone(), *size, false))
                .collect();
            if folder.is_empty() {
                found.extend(folders.iter().filter(|name| matches(name)).map(|name| ((*name).to_owned(), 0, true)));
            }
            let place = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let name = state.datastore(&self.datastore).map_or("", |store| store.name.as_str());
            Found { datastore: self.datastore.clone(), folder: format!("[{name}] {place}"), files: found }
        };
        if !self.folder.is_empty() && !folders.contains(&self.folder.as_str()) {
            let name = state.datastore(&self.datastore).map_or("", |store| store.name.as_str());
            return Err(WorldError::NoFile { path: format!("[{name}] {}", self.folder) });
        }
        let mut all = vec![of(&self.folder)];
        if self.deep && self.folder.is_empty() {
            all.extend(folders.iter().map(|folder| of(folder)));
        }
        Ok(all)
    }
}

/// A folder without slashes around it; `.` is the top.
fn below(folder: &str) -> &str {
    match folder.trim().trim_matches('/') {
        "." => "",
        folder => folder.trim_start_matches("./"),
    }
}

/// `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| fits(rest, &name[at..]))
        }
        (Some('?'), Some(first)) => fits(&pattern[1..], &name[first.len_utf8()..]),
        (Some(wanted), Some(first)) if wanted.eq_ignore_ascii_case(&first) => {
            fits(&pattern[wanted.len_utf8()..], &name[first.len_utf8()..])
        }
        _ => false,
    }
}

/// Folder, name and size of every file, folder by folder.
fn files(state: &State, datastore: &str) -> Vec<(String, String, i64)> {
    let mut all = Vec::new();
    for vm in state.vms.values() {
        if vm.datastore == datastore {
            for (ending, size) in [("vmx", 2_800), ("nvram", 8_684), ("vmsd", 0)] {
                all.push((vm.name.clone(), format!("{}.{ending}", vm.name), size));
            }
            all.push((vm.name.clone(), "vmware.log".to_owned(), 220_000));
        }
        for disk in vm.disks.iter().filter(|disk| disk.datastore == datastore && disk.raw.is_none()) {
            let (folder, file) = disk.path.rsplit_once('/').unwrap_or(("", &disk.path));
            all.push((folder.to_owned(), file.to_owned(), disk.capacity));
        }
    }
    all.sort();
    all
}

/// The result of a task, as vim25 types it.
pub fn result(found: &[Found], deep: bool) -> Val {
    let one = |found: &Found| -> Obj {
        let file = |(name, size, folder): &(String, i64, bool)| {
            let kind = match name.rsplit('.').next() {
                _ if *folder => "FolderFileInfo",
                Some("vmdk") => "VmDiskFileInfo",
                Some("vmx") => "VmConfigFileInfo",
                Some("nvram") => "VmNvramFileInfo",
                Some("log") => "VmLogFileInfo",
                _ => "FileInfo",
            };
            let info = obj(kind).set("path", name).set("fileSize", *size);
            Val::Obj(info.set("modification", time("2026-01-01T00:00:00Z")).set("owner", "root"))
        };
        obj("HostDatastoreBrowserSearchResults")
            .set("datastore", mo("Datastore", &found.datastore))
            .set("folderPath", &found.folder)
            .list("file", "FileInfo", found.files.iter().map(file).collect())
    };
    if deep {
        return Val::Array("HostDatastoreBrowserSearchResults", found.iter().map(|found| one(found).into()).collect());
    }
    found.first().map_or_else(|| obj("HostDatastoreBrowserSearchResults").into(), |found| one(found).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_browser() {
        assert!(fits("*.vmdk", "erp_1.vmdk") && fits("*", "x") && fits("erp?.vmx", "ERP2.vmx"));
        assert_eq!([" ./", "erp/", " ./erp", ""].map(below), ["", "erp", "erp", ""]);
        assert!(!fits("*.vmdk", "erp.vmx") && !fits("erp", "erp2"));
    }
}
