//! `mtv-matrix config`: what is in force and where it came from, and the schemas.

use super::args::{ConfigArgs, ConfigCommand, Output, SchemaKind};
use super::{Stop, common, docs, exit, print_text};
use crate::api::world::World;
use crate::config::{Loaded, known, world};

pub(super) fn run(config: &ConfigArgs, command: &ConfigCommand) -> Result<u8, Stop> {
    match command {
        ConfigCommand::Show(args) => {
            let loaded = common::load(&config.and(&args.config), Vec::new(), None)?;
            match args.output {
                Output::Table | Output::Wide => print_text(&show(&loaded)),
                Output::Json => print_text(&show_json(&loaded)),
                Output::Name => print_text(&loaded.shown.keys().map(|key| format!("{key}\n")).collect::<String>()),
            }
        }
        ConfigCommand::Schema { of } => print_text(&schema(*of)),
        ConfigCommand::World => print_text(World::shipped_text()),
        ConfigCommand::Docs { dir } => {
            let changed = docs::write(dir).map_err(Stop::usage)?;
            print_text(&changed.iter().map(|path| format!("{}\n", path.display())).collect::<String>());
        }
    }
    Ok(exit::PASSED)
}

/// Every value with the layer and the place it came from; secrets are masked.
pub fn show(loaded: &Loaded) -> String {
    let mut out = String::new();
    let key_width = loaded.shown.keys().map(String::len).max().unwrap_or(0);
    // A long value must not push the places of all others to the right.
    let value_width = loaded.shown.values().map(|v| v.chars().count()).filter(|w| *w <= 48).max().unwrap_or(0);
    for (key, value) in &loaded.shown {
        let place = match loaded.provenance.get(key) {
            Some(origin) => format!("{} ({origin})", origin.layer.name()),
            None => "-".to_owned(),
        };
        out.push_str(&format!("{key:key_width$}  {value:value_width$}  {place}\n"));
    }
    for warning in loaded.warnings.iter().chain(loaded.scenarios.values().flat_map(|s| &s.refused)) {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out
}

/// The same for programs.
fn show_json(loaded: &Loaded) -> String {
    let value = |(key, value): (&String, &String)| {
        let origin = loaded.provenance.get(key);
        let told = serde_json::json!({
            "value": value,
            "layer": origin.map(|origin| origin.layer.name()),
            "origin": origin.map(ToString::to_string),
        });
        (key.clone(), told)
    };
    let values: serde_json::Map<String, serde_json::Value> = loaded.shown.iter().map(value).collect();
    let warnings: Vec<&String> =
        loaded.warnings.iter().chain(loaded.scenarios.values().flat_map(|s| &s.refused)).collect();
    format!("{:#}\n", serde_json::json!({"version": 1, "values": values, "warnings": warnings}))
}

/// JSON Schema as text.
pub fn schema(which: SchemaKind) -> String {
    let schema = match which {
        SchemaKind::Settings => known::settings_file(),
        SchemaKind::Providers => known::providers_file(),
        SchemaKind::Scenarios => known::scenarios_file(),
        SchemaKind::World => world::world_schema(),
    };
    format!("{schema:#}\n")
}
