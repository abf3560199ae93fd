//! A world file (`--world`): read with its lines, put on top of the shipped world, and judged as a whole.
//!
//! The types and what may not be are `api::world`'s; here is what a person is told, all at once.

use std::path::Path;

use serde_json::{Map, Value};

use super::errors::{ConfigErrors, Layer, Origin, Problem, hint};
use super::node::{Data, Node, parse_json, parse_yaml};
use super::schema;
use super::typed::{split_path, typed_all};
use crate::api::world::World;

/// JSON Schema of a world file.
pub fn world_schema() -> Value {
    schemars::schema_for!(World).to_value()
}

/// Reads a world file. Lists that it does not write are the shipped world's.
pub fn read_world(path: &Path) -> Result<World, ConfigErrors> {
    let source = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let origin = Origin { layer: Layer::File, source: source.clone(), line: None };
        ConfigErrors(vec![Problem { origin, message: format!("can't be read: {error}") }])
    })?;
    parse_world(&source, &text)
}

/// Likewise, from a text. `source`: what it is called in errors.
pub fn parse_world(source: &str, text: &str) -> Result<World, ConfigErrors> {
    let file = Origin { layer: Layer::File, source: source.to_owned(), line: None };
    let parse = if text.trim_start().starts_with('{') { parse_json } else { parse_yaml };
    let mut node = parse(text).map_err(|wrong| {
        let told = |error: super::node::ParseError| Problem { origin: file.at(error.line), message: error.message };
        ConfigErrors(wrong.into_iter().map(told).collect())
    })?;
    let mut problems = Vec::new();
    // What an editor's schema line says is no part of the world.
    drop(node.take("$schema"));
    if !matches!(node.data, Data::Map(_)) {
        let message = "a world maps `cluster` and platforms to what they hold".to_owned();
        return Err(ConfigErrors(vec![Problem { origin: file.at(node.line), message }]));
    }
    let schema = world_schema();
    schema::coerce(&schema, &mut node, false);
    let judged = node.clone();
    let line = |path: &[String]| {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        file.at(judged.line_of(&parts))
    };
    for unknown in schema::unknown_keys(&schema, &node.clone(), "key of a world", &[]) {
        node.remove(&unknown.path);
        problems.push(Problem { origin: line(&unknown.path), message: unknown.message });
    }
    for (path, message) in schema::out_of_bounds(&schema, &node) {
        node.remove(&path);
        problems.push(Problem { origin: line(&path), message });
    }
    let (_, wrong) = typed_all::<World>(&node);
    problems.extend(wrong.into_iter().map(|(path, message)| Problem { origin: line(&split_path(&path)), message }));
    if !problems.is_empty() {
        return Err(ConfigErrors(problems));
    }
    let whole = |message: String| ConfigErrors(vec![Problem { origin: file.clone(), message }]);
    let shipped = World::shipped().map_err(|error| whole(error.to_string()))?;
    let mut all = serde_json::to_value(shipped).map_err(|error| whole(error.to_string()))?;
    overlay(&mut all, &node);
    let world: World = serde_json::from_value(all).map_err(|error| whole(error.to_string()))?;
    let told = |problem: crate::api::world::Problem| {
        let key = problem.path.join(".");
        let named = problem.path.last().and_then(|_| judged.at(&problem.path)).map(Node::to_json);
        let hint = match &named {
            Some(Value::String(name)) => hint(name, problem.known.iter().map(String::as_str), ""),
            _ => String::new(),
        };
        let shipped = match problem.path.as_slice() {
            [platform, list, ..] if judged.at(&[platform.clone(), list.clone()]).is_none() => {
                format!("; that is of the shipped world: write `{platform}.{list}`, too")
            }
            _ => String::new(),
        };
        let message = format!("`{key}`: {}{hint}{shipped}", problem.message);
        Problem { origin: line(&problem.path), message }
    };
    let problems: Vec<Problem> = world.problems().into_iter().map(told).collect();
    if problems.is_empty() { Ok(world) } else { Err(ConfigErrors(problems)) }
}

/// Each list and value below a platform or the cluster, in the place of the shipped one.
fn overlay(all: &mut Value, node: &Node) {
    let Some(all) = all.as_object_mut() else { return };
    for entry in node.entries() {
        let place = all.entry(entry.key.clone()).or_insert_with(|| Value::Object(Map::new()));
        let (Some(place), Value::Object(written)) = (place.as_object_mut(), entry.node.to_json()) else { continue };
        place.extend(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Vec<String> {
        parse_world("w.yaml", text).err().map_or(Vec::new(), |all| all.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_a_file_does_not_write_is_as_it_is_shipped() {
        let world = parse_world("w.yaml", "vsphere:\n  vms:\n    - name: erp\n").unwrap();
        let shipped = World::shipped().unwrap();
        assert_eq!(world.vsphere.vms.len(), 1);
        assert_eq!(world.vsphere.networks, shipped.vsphere.networks);
        assert_eq!((world.ovirt, world.cluster), (shipped.ovirt, shipped.cluster));
        assert_eq!(parse_world("w.yaml", "# nothing\n").unwrap(), World::shipped().unwrap());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_line_key_and_what_would_be_right() {
        let text = "vsphere:\n  vms:\n    - name: erp\n      cpu: 2\n      memory: 4GB\n    - name: b\n      cpus: 0\n      nics: [{mac: 1}]\n";
        let found = refused(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found[0].starts_with(
                "w.yaml:4: `vsphere.vms.0.cpu` is not a key of a world; did you mean `vsphere.vms.0.cpus`?"
            )
        );
        assert!(found[1].starts_with("w.yaml:7: `vsphere.vms.1.cpus`: 0 is not from 1 to 768"), "{}", found[1]);
        assert!(found[2].starts_with("w.yaml:5: `vsphere.vms[0].memory`: `4GB` is not a size: write e.g. 16Gi"));
        assert!(found[3].starts_with("w.yaml:8: "), "{}", found[3]);
    }

    #[test]
    fn a_name_that_nothing_has_is_told_with_the_one_that_was_meant() {
        let text = "vsphere:\n  vms:\n    - name: erp\n      nics:\n        - network: VM Netwrk\n";
        let found = refused(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("w.yaml:5: `vsphere.vms.0.nics.0.network`: there is no network `VM Netwrk`"));
        assert!(found[0].ends_with("did you mean `VM Network`?"), "{}", found[0]);
        // The file's networks, the shipped VMs.
        let found = refused("vsphere:\n  networks: [{name: prod}]\n");
        assert!(found.iter().all(|line| line.ends_with("that is of the shipped world: write `vsphere.vms`, too")));
        assert!(!found.is_empty());
    }

    #[test]
    fn a_thousand_vms_are_read_in_a_second() {
        let vms: String = (0..1000)
            .map(|n| format!("    - {{name: vm-{n}, os: rhel9, disks: [{{size: 20Gi}}, {{size: 5Gi}}], nics: [{{}}, {{network: Mgmt Network}}]}}\n"))
            .collect();
        let begun = tokio::time::Instant::now();
        let world = parse_world("w.yaml", &format!("vsphere:\n  vms:\n{vms}")).unwrap();
        assert_eq!(world.vsphere.vms.len(), 1000);
        // On a machine that builds beside it; alone it is a tenth of that.
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
