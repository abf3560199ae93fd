//! `mtv-matrix scenario import`: the scenarios of a Python suite's configuration as a YAML file of ours.
//!
//! Literals alone are read, nothing is executed. What can't be taken over is told with its line, and the exit says so.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Stop, exit, print_text};
use crate::config::load::scenario_texts;
use crate::config::python;

/// The name that the suite's configuration gives its scenarios.
const TESTS: &str = "tests_params";
/// The suite's own is a fiftieth of that.
const LARGEST: u64 = 4 << 20;

pub(super) fn run(file: &Path, out: Option<&Path>) -> Result<u8, Stop> {
    let source = file.display().to_string();
    let failed = |error: std::io::Error| Stop::usage(format!("{source}: {error}"));
    if std::fs::metadata(file).map_err(failed)?.len() > LARGEST {
        return Err(Stop::usage(format!("{source}: larger than {} MiB", LARGEST >> 20)));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let made = import(&source, &text).map_err(Stop::usage)?;
    match out {
        None => print_text(&made.yaml),
        Some(path) => {
            let failed = |error: std::io::Error| Stop::usage(format!("{}: {error}", path.display()));
            // A file of that name is somebody's.
            let mut file = std::fs::File::create_new(path).map_err(failed)?;
            file.write_all(made.yaml.as_bytes()).map_err(failed)?;
        }
    }
    for line in made.notes.iter().chain(&made.left_out) {
        super::show::err(format_args!("{line}"));
    }
    Ok(if made.left_out.is_empty() { exit::PASSED } else { exit::USAGE })
}

/// What a file comes to.
struct Made {
    yaml: String,
    /// What the scenarios will say when they are loaded.
    notes: Vec<String>,
    /// `FILE:LINE: …` of everything that is not in the YAML.
    left_out: Vec<String>,
}

fn import(source: &str, text: &str) -> Result<Made, String> {
    let place = |line: usize| if line > 0 { format!("{source}:{line}") } else { source.to_owned() };
    let found = python::assigned(text, TESTS).map_err(|told| format!("{}: {}", place(told.line), told.message))?;
    let Value::Object(all) = &found.value else { return Err(format!("{source}: `{TESTS}` is no dict")) };
    let mut left_out: Vec<String> =
        found.left_out.iter().map(|told| format!("{}: {}", place(told.line), told.message)).collect();
    let line_of = |name: &str| found.lines.iter().find(|(own, _)| own == name).map_or(0, |(_, line)| *line);
    let mut kept = Map::new();
    for (name, scenario) in all {
        if scenario.is_object() {
            kept.insert(name.clone(), scenario.clone());
        } else {
            left_out.push(format!("{}: `{name}` is no dict", place(line_of(name))));
        }
    }
    let mut yaml = format!("# From {source}, by `mtv-matrix scenario import`.\n");
    for (name, scenario) in &kept {
        yaml.push('\n');
        yaml.push_str(&format!("{}:\n", scalar_key(name)));
        block(scenario, 1, &mut yaml);
    }
    Ok(Made { notes: notes(source, &yaml, &line_of), yaml, left_out })
}

/// What loading says of it: in the lines of the file that it came from.
fn notes(source: &str, yaml: &str, line_of: &dyn Fn(&str) -> usize) -> Vec<String> {
    let read = scenario_texts(&[("made".to_owned(), yaml.to_owned())]);
    let mut notes: Vec<String> = Vec::new();
    for scenario in read.scenarios.values() {
        let say = |what: &str| format!("{source}:{}: `{}`: {what}", line_of(&scenario.name), scenario.name);
        notes.extend(scenario.not_built.iter().map(|why| say(&format!("will be skipped: {why}"))));
        // They name the place in the YAML, which nobody has seen yet.
        notes.extend(
            scenario.refused.iter().map(|why| say(why.rsplit_once("`: ").map_or(why.as_str(), |(_, why)| why))),
        );
    }
    notes.extend(read.problems.iter().map(|problem| format!("{source}: {}", problem.message)));
    notes.extend(
        read.warnings
            .iter()
            .map(|line| format!("{source}: {}", line.split_once(": ").map_or(line.as_str(), |(_, rest)| rest))),
    );
    notes
}

const INDENT: &str = "  ";

/// A value that is no scalar, a line each.
fn block(value: &Value, depth: usize, out: &mut String) {
    let pad = INDENT.repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&format!("{pad}{}:", scalar_key(key)));
                below(value, depth, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        // The first key stands behind the dash, where the others stand below it.
                        let mut inner = String::new();
                        block(item, depth + 1, &mut inner);
                        let text = inner.strip_prefix(&INDENT.repeat(depth + 1)).unwrap_or(&inner);
                        out.push_str(&format!("{pad}- {text}"));
                    }
                    item => {
                        out.push_str(&format!("{pad}-"));
                        below(item, depth, out);
                    }
                }
            }
        }
        scalar => out.push_str(&format!("{pad}{}\n", flow(scalar))),
    }
}

/// What stands behind a key or a dash.
fn below(value: &Value, depth: usize, out: &mut String) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        out.push('\n');
        block(value, depth + 1, out);
    } else {
        out.push_str(&format!(" {}\n", flow(value)));
    }
}

/// On one line. JSON is YAML; a word that YAML would read as something else is quoted.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn scalar_key(key: &str) -> String {
    flow(&Value::String(key.to_owned()))
}

/// Whether a text needs no quotes: a word, and none that any YAML takes for a truth or for nothing.
fn is_plain(text: &str) -> bool {
    const TAKEN: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !TAKEN.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "global config\n\nstorage = 3\ntests_params: dict = {\n    \"test_cold\": {\n        \"virtual_machines\": [\n            \
                         {\"name\": \"a\", \"source_vm_power\": \"on\", \"add_disks\": [{\"size_gb\": 30, \"disk_mode\": \"persistent\"}]},\n            \
                         {\"name\": \"b c\"},\n        ],\n        \"warm_migration\": False,\n        \"target_labels\": {\"x\": None},\n    },\n    \
                         \"test_new\": {\"virtual_machines\": [{\"name\": \"a\"}], \"pvc_name_template\": {\"vsphre\": \"x\"}, \"vm_target_namespace\": f\"x-{n}\"},\n    \
                         \"test_odd\": 3,\n}\n\nfor _dir in dir():\n    val = locals()[_dir]\n";

    #[test]
    fn scenarios_of_the_suite_become_yaml_that_loads_as_the_same() {
        let made = import("config.py", SUITE).unwrap();
        let expected = "# From config.py, by `mtv-matrix scenario import`.\n\ntest_cold:\n  virtual_machines:\n    - name: a\n      \
                        source_vm_power: \"on\"\n      add_disks:\n        - size_gb: 30\n          disk_mode: persistent\n    - name: \"b c\"\n  \
                        warm_migration: false\n  target_labels:\n    x: null\n\ntest_new:\n  virtual_machines:\n    - name: a\n  pvc_name_template:\n    vsphre: x\n";
        assert_eq!(made.yaml, expected);
        let read = scenario_texts(&[("s.yaml".to_owned(), made.yaml)]);
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        let cold = &read.scenarios["test_cold"];
        assert_eq!(cold.virtual_machines[0].source_vm_power, Some(crate::config::PowerState::On));
        assert_eq!(cold.target_labels["x"], None);
    }

    #[test]
    fn what_is_not_taken_over_and_what_will_be_skipped_is_told_with_its_line() {
        let made = import("config.py", SUITE).unwrap();
        assert_eq!(made.left_out.len(), 2, "{:?}", made.left_out);
        assert!(made.left_out[0].starts_with("config.py:13: `test_new.vm_target_namespace`: no literal, left out: f"));
        assert_eq!(made.left_out[1], "config.py:14: `test_odd` is no dict");
        assert_eq!(made.notes.len(), 1, "{:?}", made.notes);
        assert!(
            made.notes[0].starts_with("config.py:13: `test_new`: will be skipped: `pvc_name_template` names `vsphre`"),
            "{:?}",
            made.notes
        );
        assert!(
            import("c.py", "x = 1\n")
                .is_err_and(|told| told.starts_with("c.py: nothing is assigned to `tests_params`"))
        );
    }
}
