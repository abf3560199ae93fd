//! `mtv-matrix record scenario`: a Plan as a scenario and a world, from a cluster, a file, or a folder of a must-gather.
//!
//! Reads the objects, and writes two files; what they tell is `forklift::retold`'s.

use std::path::Path;

use serde_json::Value;

use super::args::RecordScenarioArgs;
use super::record_cmd::{named, write, yaml};
use super::run_cmd::connect;
use super::{Stop, common, exit};
use crate::api::world::Kind;
use crate::forklift::retold::{Ask, Evidence, from_cluster};

/// Bounds of a folder that somebody else has written.
const FILES: usize = 50_000;
const DEPTH: usize = 16;
const FILE_BYTES: u64 = 32 << 20;

pub(super) async fn scenario(config: &super::args::ConfigArgs, args: &RecordScenarioArgs) -> Result<u8, Stop> {
    let kind = args.kind.as_deref().map(kind_named).transpose()?;
    let path = Path::new(&args.from);
    let mut plan = args.plan.clone();
    let (evidence, unread) = if path.is_dir() {
        folder(path)?
    } else if path.is_file() {
        file(path)?
    } else if args.from.contains('/') && !is_file_name(&args.from) {
        let loaded = common::load(config, Vec::new(), None)?;
        let own = loaded.settings.mtv_namespace.as_str();
        let cluster = connect(&loaded, None).await.map_err(Stop::environment)?;
        let wanted = named(&args.from, own);
        plan = wanted.name.clone();
        (from_cluster::evidence(&cluster, own, &wanted).await.map_err(Stop::environment)?, Vec::new())
    } else {
        return Err(Stop::usage(format!(
            "{}: there is no such file or folder; a Plan on the cluster is NAMESPACE/NAME",
            args.from
        )));
    };
    for line in &unread {
        super::show::err(format_args!("warning: {line}"));
    }
    let ask = Ask { plan, kind, anonymise: args.anonymise };
    let told = evidence.retell(&ask).map_err(Stop::usage)?;
    // What stands in a --config directory itself is settings.
    let (scenarios, worlds) = (args.out.join("scenarios"), args.out.join("worlds"));
    for folder in [&scenarios, &worlds] {
        std::fs::create_dir_all(folder).map_err(|e| Stop::usage(format!("{}: {e}", folder.display())))?;
    }
    let head = "# Recorded by `mtv-matrix record scenario`.\n";
    // Notes speak of things by their names.
    let kept = told.notes.iter().filter(|_| !args.anonymise);
    let notes: String = kept.map(|note| format!("# {note}\n")).collect();
    let file = format!("{}.yaml", told.name);
    let (world, scenario) = (worlds.join(&file), scenarios.join(&file));
    let named = std::collections::BTreeMap::from([(&told.name, &told.scenario)]);
    write(&world, &format!("{head}{}", yaml(&told.world)?))?;
    write(&scenario, &format!("{head}{notes}{}", yaml(&named)?))?;
    for note in &told.notes {
        super::show::err(format_args!("warning: {note}"));
    }
    let (out, name) = (args.out.display(), &told.name);
    super::show::out(format_args!("{} and {}", world.display(), scenario.display()));
    super::show::out(format_args!("play it: mtv-matrix -c {out} run --lab --world {} -s {name}", world.display()));
    Ok(exit::PASSED)
}

fn is_file_name(text: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end))
}

fn kind_named(text: &str) -> Result<Kind, Stop> {
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        Stop::usage(format!("--type: there is no platform `{text}` in a world; there are {known}"))
    })
}

/// Every object of a file, which must be right throughout.
fn file(path: &Path) -> Result<(Evidence, Vec<String>), Stop> {
    let mut evidence = Evidence::default();
    let text = std::fs::read_to_string(path).map_err(|e| Stop::usage(format!("{}: {e}", path.display())))?;
    let unread = add(&mut evidence, path, &text);
    if let Some(first) = unread.first() {
        return Err(Stop::usage(first));
    }
    Ok((evidence, unread))
}

/// Every object of a folder; what can't be read is told.
fn folder(path: &Path) -> Result<(Evidence, Vec<String>), Stop> {
    let mut evidence = Evidence::default();
    let mut unread = Vec::new();
    let (mut folders, mut files) = (vec![(path.to_owned(), 0)], 0);
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(Stop::usage(format!("{}: {error}", folder.display()))),
            Err(error) => {
                unread.push(format!("{}: {error}", folder.display()));
                continue;
            }
        };
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            // A link may lead out of the folder, or round in it.
            let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
            if about.is_dir() && depth < DEPTH {
                folders.push((path, depth + 1));
            } else if about.is_file() && is_file_name(&path.to_string_lossy()) {
                files += 1;
                if files > FILES {
                    return Err(Stop::usage(format!("more than {FILES} files: name the folder of the one namespace")));
                }
                if about.len() > FILE_BYTES {
                    unread.push(format!("{}: {} bytes are too many", path.display(), about.len()));
                    continue;
                }
                match std::fs::read_to_string(&path) {
                    Ok(text) => unread.extend(add(&mut evidence, &path, &text)),
                    Err(error) => unread.push(format!("{}: {error}", path.display())),
                }
            }
        }
    }
    Ok((evidence, unread))
}

/// Adds the documents of a text; a line for each that is none.
fn add(evidence: &mut Evidence, path: &Path, text: &str) -> Vec<String> {
    let mut unread = Vec::new();
    for (line, document) in documents(text) {
        match serde_saphyr::from_str::<Value>(&document) {
            Ok(value) => evidence.gathered(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(), value),
            Err(error) => {
                let told = error.to_string();
                let first = told.lines().next().unwrap_or_default();
                unread.push(format!("{}: the document that begins at line {line}: {first}", path.display()));
            }
        }
    }
    unread
}

/// The documents of a YAML text, each with the line that it begins at.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut all = vec![(1, String::new())];
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim_end() == "---" {
            all.push((line + 1, String::new()));
        } else if let Some((_, document)) = all.last_mut() {
            document.push_str(content);
            document.push('\n');
        }
    }
    all.retain(|(_, document)| document.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#')));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_their_lines_and_empty_ones_left_out() {
        let all = documents("# head\n---\na: 1\n---\n\n---\nb: |\n  ---x\n");
        assert_eq!(all, [(3, "a: 1\n".to_owned()), (7, "b: |\n  ---x\n".to_owned())]);
    }

    #[test]
    fn a_broken_document_of_a_file_is_refused_with_its_line_and_in_a_folder_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.yaml");
        std::fs::write(&path, "kind: Plan\n---\na: [\n").unwrap();
        let refused = file(&path).err().unwrap();
        assert!(refused.message.contains("begins at line 3"), "{}", refused.message);
        let (_, unread) = folder(dir.path()).ok().unwrap();
        assert_eq!(unread.len(), 1, "{unread:?}");
    }
}
