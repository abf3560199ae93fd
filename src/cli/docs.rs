//! `mtv-matrix config docs`: the tables of `docs/`, from the tables that the program itself runs on.
//!
//! A page holds `<!-- table: NAME -->` … `<!-- end of table -->`; what stands between is made here. A test
//! fails when a page is stale. Knows every table, and nothing of how it is used. The rights come from the roles
//! in `manifests/`, beside the directory of the pages.

mod rights;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::version::Version;
use crate::check;
use crate::config::platforms::{self, Platform};
use crate::config::scenarios::Destination;
use crate::config::steps::Step;
use crate::config::{self, known};
use crate::matrix;
use crate::matrix::support::{self, PLATFORMS, TABLE};

const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end of table -->";

/// Why a page can't be made.
#[derive(Debug, thiserror::Error)]
pub enum DocsError {
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error(
        "line {line}: there is no table `{name}`; known are settings, profile, profile TYPE, scenario, steps, scenarios, support, checks, tried, weather, rights"
    )]
    Unknown { line: usize, name: String },
    #[error("line {line}: `{END}` is missing after the table `{name}`")]
    Open { line: usize, name: String },
    #[error("{}: {cause}", .path.display())]
    Role { path: PathBuf, cause: String },
    #[error("{}: {error}", .path.display())]
    Page { path: PathBuf, error: Box<DocsError> },
}

/// Makes the tables of every page in a directory again. The pages that changed.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>, DocsError> {
    let mut changed = Vec::new();
    for path in pages(dir)? {
        let failed = |error| DocsError::File { path: path.clone(), error };
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let made = page(&text, dir).map_err(|error| DocsError::Page { path: path.clone(), error: Box::new(error) })?;
        if made != text {
            std::fs::write(&path, made).map_err(failed)?;
            changed.push(path);
        }
    }
    Ok(changed)
}

fn pages(dir: &Path) -> Result<Vec<PathBuf>, DocsError> {
    let failed = |error| DocsError::File { path: dir.to_owned(), error };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// A page of the directory with its tables made again.
pub fn page(text: &str, dir: &Path) -> Result<String, DocsError> {
    let mut out = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(name) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        let (line, name) = (number + 1, name.to_owned());
        let made = if name == "rights" { Some(rights::table(&dir.join("../manifests"))?) } else { table(&name) };
        let Some(table) = made else { return Err(DocsError::Unknown { line, name }) };
        out.push_str(&table);
        if !lines.any(|(_, line)| line == END) {
            return Err(DocsError::Open { line, name });
        }
        out.push_str(END);
        out.push('\n');
    }
    Ok(out)
}

fn table(name: &str) -> Option<String> {
    Some(match name {
        "settings" => settings(),
        "profile" => profile(None),
        "scenario" => rows(&known::scenario(), None),
        "steps" => steps(),
        "scenarios" => scenarios(),
        "support" => support(),
        "checks" => checks(),
        "tried" => tried(),
        "weather" => weather(),
        other => {
            let kind = other.strip_prefix("profile ")?;
            profile(Some(Platform::ALL.into_iter().find(|p| p.name() == kind)?))
        }
    })
}

fn profile(platform: Option<Platform>) -> String {
    let table = platforms::table(platform.unwrap_or(Platform::Vsphere));
    let with = |properties: &serde_json::Map<String, Value>| {
        rows(&serde_json::json!({"properties": properties, "$defs": table.definitions}), None)
    };
    if platform.is_none() {
        let mut properties = serde_json::Map::new();
        let kinds: Vec<String> = Platform::ALL.iter().map(|p| format!("`{p}`")).collect();
        let text = format!("The platform, in MTV's own words: {}. Required.", kinds.join(", "));
        properties.insert("type".to_owned(), serde_json::json!({"description": text}));
        properties.extend(table.common.clone());
        return with(&properties);
    }
    let mut out = with(&table.own);
    let own_idle: Vec<String> = table.idle.iter().map(|key| format!("`{key}`")).collect();
    if !own_idle.is_empty() {
        out.push_str(&format!("\nRead, without effect: {}.\n", own_idle.join(", ")));
    }
    out
}

fn settings() -> String {
    rows(&known::settings(), Some(&config::defaults()))
}

/// `| key | meaning |`, or with the defaults between; objects inside become `outer.inner`.
fn rows(schema: &Value, defaults: Option<&Value>) -> String {
    let mut out = match defaults {
        Some(_) => "| key | default | meaning |\n|---|---|---|\n".to_owned(),
        None => "| key | meaning |\n|---|---|\n".to_owned(),
    };
    walk(schema, schema, "", defaults, &mut out);
    out
}

fn walk(root: &Value, schema: &Value, prefix: &str, defaults: Option<&Value>, out: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, property) in properties {
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let (inner, many) = inside(root, property);
        let default = defaults.map(|all| all.get(key).unwrap_or(&Value::Null));
        let name = format!("{prefix}{key}");
        let bounds = bounds(property).map(|b| format!(" {b}.")).unwrap_or_default();
        let cell = match default {
            Some(Value::Object(_)) => " |".to_owned(),
            Some(Value::Null) => " |".to_owned(),
            Some(Value::String(text)) if text.is_empty() => " `\"\"` |".to_owned(),
            Some(value) => format!(" `{}` |", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            None => String::new(),
        };
        out.push_str(&format!("| `{name}` |{cell} {}{bounds} |\n", meaning.replace('|', "\\|")));
        if let Some(inner) = inner {
            let dot = if many { "[]." } else { "." };
            walk(root, inner, &format!("{name}{dot}"), default, out);
        }
    }
}

/// The object that a property holds, and whether it is a list of them.
fn inside<'a>(root: &'a Value, property: &'a Value) -> (Option<&'a Value>, bool) {
    let follow = |schema: &'a Value| -> Option<&'a Value> {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.strip_prefix('#')?));
        target.or(Some(schema)).filter(|s| s.get("properties").is_some())
    };
    let alternatives = property.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let all: Vec<&Value> = std::iter::once(property).chain(alternatives).collect();
    if let Some(one) = all.iter().find_map(|s| follow(s)) {
        return (Some(one), false);
    }
    (all.iter().find_map(|s| s.get("items").and_then(follow)), true)
}

fn bounds(property: &Value) -> Option<String> {
    let (min, max) = (property.get("minimum").and_then(Value::as_u64), property.get("maximum").and_then(Value::as_u64));
    max.map(|max| format!("{} to {max}", min.unwrap_or_default()))
}

/// What a story is made of, from the schema of its steps.
fn steps() -> String {
    let mut out = "| step | what it does | arguments |\n|---|---|---|\n".to_owned();
    let schema = config::steps::schema();
    for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let Some((name, arguments)) =
            one.get("properties").and_then(Value::as_object).and_then(|properties| properties.iter().next())
        else {
            continue;
        };
        let what = one.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let inner = inside(&schema, arguments).0.and_then(|inner| inner.get("properties")).and_then(Value::as_object);
        let told: Vec<String> = inner
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "timeout")
            .map(|(key, property)| {
                let text = property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
                format!("`{key}`: {text}")
            })
            .collect();
        out.push_str(&format!("| `{name}` | {what} | {} |\n", told.join(" ").replace('|', "\\|")));
    }
    out
}

/// Every shipped scenario: what it proves, what it needs, its story, where it can be, since when, how long it takes.
fn scenarios() -> String {
    let mut out = "| shipped | tags | what it proves | story | needs | where | MTV | expected |\n".to_owned();
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for scenario in config::shipped_scenarios().unwrap_or_default().values() {
        let platforms: Vec<_> =
            PLATFORMS.into_iter().filter(|platform| support::reason_on(*platform, scenario).is_none()).collect();
        let names: Vec<&str> = platforms.iter().map(|platform| platform.name()).collect();
        let place = if names.len() == PLATFORMS.len() { "everywhere".to_owned() } else { names.join(", ") };
        let mut releases: Vec<Option<Version>> =
            platforms.iter().map(|platform| support::since(*platform, scenario)).collect();
        releases.sort();
        let from =
            releases.first().copied().flatten().map(|from| format!("{}.{}{}", from.major, from.minor, patch(from)));
        let before = scenario.requires.before_mtv_version.as_ref().map(|end| format!("before {end}"));
        let release =
            [from.map(|from| format!("{from}+")), before].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let story = match &scenario.steps {
            None => "migrate, verify".to_owned(),
            Some(steps) => steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(", "),
        };
        out.push_str(&format!(
            "| `{}` | {} | {} | {story} | {} | {place} | {release} | {} |\n",
            scenario.name,
            scenario.tags.join(", "),
            scenario.description,
            needs(scenario).join(", "),
            config::duration::show(matrix::expected(scenario)),
        ));
    }
    out
}

fn patch(version: Version) -> String {
    if version.patch == 0 { String::new() } else { format!(".{}", version.patch) }
}

/// What must be given beside a platform: VMs, settings, keys of the profile.
fn needs(scenario: &config::Scenario) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |one: String| {
        if !all.contains(&one) {
            all.push(one);
        }
    };
    let vms = &scenario.virtual_machines;
    for vm in vms {
        let count = vms.iter().filter(|other| other.name == vm.name).count();
        add(if count > 1 { format!("{} ({count} times)", vm.name) } else { vm.name.clone() });
    }
    let steps = || scenario.steps.iter().flatten();
    let hooks = [&scenario.pre_hook, &scenario.post_hook];
    for (asked, what) in [
        (scenario.destination == Destination::Remote, "`remote_ocp_cluster`"),
        (hooks.into_iter().flatten().any(|hook| hook.aap_job_template_id.is_some()), "`aap_url`, `aap_token`"),
        (steps().any(|step| matches!(step, Step::Upgrade(_))), "`upgrade_command`"),
        (steps().any(|step| matches!(step, Step::Inspect(inspect) if inspect.vddk)), "a VDDK image"),
        (scenario.parts().iter().any(|part| part.scenario.copyoffload), "`copyoffload`"),
        (vms.iter().any(|vm| vm.luks && vm.luks_passphrase.is_none()), "`luks_passphrase`"),
        (scenario.runs_alone(), "`--allow-disruptive`"),
        (scenario.opt_in, "to be named"),
    ] {
        if asked {
            add(what.to_owned());
        }
    }
    all
}

fn support() -> String {
    let names: Vec<&str> = PLATFORMS.iter().map(|p| p.name()).collect();
    let mut out = format!("| capability | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let mut notes: Vec<String> = Vec::new();
    for capability in TABLE {
        out.push_str(&format!("| {} |", capability.name));
        for platform in PLATFORMS {
            let support = capability.on(platform);
            let note = support.why().map(|why| {
                let known = notes.iter().position(|n| *n == why).unwrap_or_else(|| {
                    notes.push(why);
                    notes.len() - 1
                });
                format!(" [{}]", known + 1)
            });
            out.push_str(&format!(" {}{} |", support.word(), note.unwrap_or_default()));
        }
        out.push('\n');
    }
    out.push('\n');
    for (number, note) in notes.iter().enumerate() {
        out.push_str(&format!("{}. {note}\n", number + 1));
    }
    out
}

fn checks() -> String {
    let (whole, written) = (crate::lab::defects::CATALOGUE.len(), crate::lab::defects::catalogue::WRITTEN.len());
    let mut out = format!(
        "{} checks, {} defects ({whole} whole migrations, {written} changed fields), {} variations.\n\n",
        check::CONTRACT.len(),
        whole + written,
        crate::lab::defects::variations::VARIATIONS.len(),
    );
    out.push_str("| check | what must hold | promised in | by MTV version | not judged when | defects |\n");
    out.push_str("|---|---|---|---|---|---|\n");
    for (row, source) in check::CONTRACT.iter().zip(check::sources::SOURCES) {
        let found = crate::lab::defects::CATALOGUE.iter().filter(|(_, _, found_by)| *found_by == row.name);
        let written = crate::lab::defects::catalogue::WRITTEN.iter().filter(|d| d.caught_by.first() == Some(&row.name));
        let names = found.map(|(_, name, _)| *name).chain(written.map(|defect| defect.name));
        let defects: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let essential = if row.essential { " (essential)" } else { "" };
        let (name, defects) = (row.name, defects.join(", "));
        let check::sources::Source { file, versions, .. } = source;
        let (holds, unless) = (row.holds, row.unless);
        out.push_str(&format!("| `{name}`{essential} | {holds} | {file} | {versions} | {unless} | {defects} |\n"));
    }
    out
}

/// How often which check was tried, by MTV version and platform; and that nothing slipped through.
fn tried() -> String {
    let rows: Vec<Vec<&str>> = (check::sources::TRIED.lines())
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    let number = |row: &Vec<&str>, at: usize| row.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let versions: BTreeSet<(u64, &str)> = rows
        .iter()
        .filter_map(|row| row.first().copied())
        .map(|version| (version.rsplit('.').next().and_then(|minor| minor.parse().ok()).unwrap_or(0), version))
        .collect();
    let sum = |at: usize| rows.iter().map(|row| number(row, at)).sum::<u64>();
    let mut out = format!("Made {} times, found {} times.\n\n| check |", sum(3), sum(4));
    versions.iter().for_each(|(_, version)| out.push_str(&format!(" {version} |")));
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(versions.len())));
    for check in check::CONTRACT {
        out.push_str(&format!("| `{}` |", check.name));
        for (_, version) in &versions {
            let of = |row: &&Vec<&str>| row.first() == Some(version) && row.get(2) == Some(&check.name);
            let cell = |row: &Vec<&str>| {
                let (made, found) = (number(row, 3), number(row, 4));
                let platform = row.get(1).copied().unwrap_or_default();
                if made == found { format!("{platform} {made}") } else { format!("{platform} {found} of {made}") }
            };
            let told: Vec<String> = rows.iter().filter(of).map(cell).collect();
            out.push_str(&format!(" {} |", told.join(", ")));
        }
        out.push('\n');
    }
    out
}

fn weather() -> String {
    let mut out = "| weather | usual | what is told |\n|---|---|---|\n".to_owned();
    for switch in crate::lab::weather::SWITCHES {
        let usual = if switch.usual { "yes" } else { "" };
        out.push_str(&format!("| `{}` | {usual} | {} |\n", switch.name, switch.tells));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_every_page_are_as_the_program_has_them() {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
        let mut tables = 0;
        for path in pages(dir).unwrap() {
            let text = std::fs::read_to_string(&path).unwrap();
            tables += text.lines().filter(|line| line.starts_with(BEGIN)).count();
            let made = page(&text, dir).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(made == text, "{} is stale: run `mtv-matrix config docs docs`", path.display());
        }
        assert!(tables >= 12, "{tables} tables are left in docs/");
    }

    #[test]
    fn every_key_and_setting_says_what_it_means() {
        let names = ["settings", "profile", "scenario", "steps"].map(str::to_owned);
        for name in names.into_iter().chain(Platform::ALL.iter().map(|p| format!("profile {p}"))) {
            let table = table(&name).unwrap();
            // A step may have no arguments.
            let silent = |l: &&str| {
                if name == "steps" {
                    l.contains("` |  |") || l.contains("`:  ") || l.contains("`: |")
                } else {
                    l.ends_with("|  |")
                }
            };
            let silent: Vec<&str> = table.lines().filter(silent).collect();
            assert!(silent.is_empty(), "{name}: {silent:?}");
        }
    }

    #[test]
    fn an_unknown_or_open_table_is_refused_with_its_line() {
        let dir = Path::new(".");
        let error = page("a\n<!-- table: setings -->\n<!-- end of table -->\n", dir).unwrap_err().to_string();
        assert!(error.starts_with("line 2: there is no table `setings`"), "{error}");
        let error = page("<!-- table: settings -->\n", dir).unwrap_err().to_string();
        assert!(error.contains("is missing after the table `settings`"), "{error}");
    }
}
