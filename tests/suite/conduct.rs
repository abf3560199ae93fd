//! Each shipped story is seen red: the lab's MTV behaves wrongly in one place (`--defect NAME`), and the stories that look
//! there fail, each at a step that judges it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::common::Place;
use mtv_matrix::lab::defects::conduct::CONDUCTS;

/// Found by a check of their last steps, as other defects are (tests/suite/defects.rs).
const BY_A_CHECK: &[(&str, &[&str])] = &[("altered-data", &["lifecycle_guest_from_inside"])];

/// Fifty VMs: the rule that it tries is tried with twenty.
const LARGE: &str = "in_flight_limit_of_twenty";

/// Where the story is told: its release and its source.
fn place_of(scenario: &str) -> &'static str {
    match scenario {
        "lifecycle_resume_conversion" => "--lab-mtv-version 2.13 -p vsphere",
        "lifecycle_virt_v2v_killed" | "lifecycle_credentials_expired" => "--lab-mtv-version 2.12 -p vsphere",
        "lifecycle_populator_killed" | "lifecycle_quota_exceeded_by_populators" => "-p ovirt",
        _ => "-p vsphere",
    }
}

fn all() -> Vec<(&'static str, &'static [&'static str])> {
    let own = CONDUCTS.iter().map(|(_, name, scenarios)| (*name, *scenarios));
    own.chain(BY_A_CHECK.iter().copied()).collect()
}

#[test]
fn every_shipped_story_is_seen_red_by_a_wrong_conduct() {
    // Of the others of copy-offload a check says whether they went well.
    let told = |file: &str, name: &String| file != "copyoffload.yaml" || name.contains("throttling");
    let shipped: BTreeSet<String> = ["lifecycle.yaml", "limits.yaml", "copyoffload.yaml"]
        .iter()
        .flat_map(|file| {
            let path = format!("{}/config/scenarios/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.lines().filter(|line| !line.starts_with([' ', '#']));
            let names = names.filter_map(|line| line.strip_suffix(':')).map(str::to_owned);
            names.filter(|name| told(file, name)).collect::<Vec<_>>()
        })
        .collect();
    let named: BTreeSet<String> =
        all().iter().flat_map(|(_, scenarios)| scenarios.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(shipped, named, "a story that nobody has seen red, or one that is not shipped");
}

/// One run of a defect: the stories of one release and source.
struct Row {
    defect: &'static str,
    at: &'static str,
    scenarios: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (defect, scenarios) in all() {
        for scenario in scenarios.iter().copied().filter(|name| *name != LARGE) {
            let at = place_of(scenario);
            match rows.iter_mut().find(|row| row.defect == defect && row.at == at) {
                Some(row) => row.scenarios.push(scenario),
                None => rows.push(Row { defect, at, scenarios: vec![scenario] }),
            }
        }
    }
    rows
}

/// What speaks against a row: stories that passed, or ended otherwise than by a step that judges.
fn complaints(row: &Row) -> Vec<String> {
    let place = Place::new();
    let named: Vec<String> = row.scenarios.iter().map(|name| format!("-s {name}")).collect();
    let args = format!(
        "run --lab {} --defect {} {} --results results -j 5 --set max_concurrent=5 --set timeouts.migrate=25s --set \
         timeouts.plan=10s --set timeouts.teardown=20s",
        row.at,
        row.defect,
        named.join(" ")
    );
    let ended = place.run(&args);
    let results = place.results();
    let mut out = Vec::new();
    for name in &row.scenarios {
        let id = format!("{}/{name}", row.at.rsplit(' ').next().unwrap());
        let cell = results.cell(&id);
        println!("{:<24} {name:<44} {}: {}", row.defect, cell["verdict"], cell["problem"]["message"]);
        if cell["verdict"] != "failed" {
            out.push(format!("{} {name}: {} {}", row.defect, cell["verdict"], cell["problem"]));
        }
    }
    if ended.code != Some(1) {
        out.push(format!("{}: exit {:?}\n{}{}", row.defect, ended.code, ended.out, ended.err));
    }
    out
}

#[test]
fn each_wrong_conduct_turns_its_stories_red() {
    const AT_ONCE: usize = 4;
    let (rows, found) = (Mutex::new(rows()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(row) = rows.lock().unwrap().pop() else { return };
                    // What a story does to the world may last a tenth of a second, in which a busy machine does nothing.
                    let mut wrong = complaints(&row);
                    if !wrong.is_empty() {
                        println!("tried again: {}", wrong.join("\n"));
                        wrong = complaints(&row);
                    }
                    found.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
