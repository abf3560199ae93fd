//! A matrix over several processes: what issue 5 wants to be shown of shards, one sentence a test.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Ended, LabServer, Place, RUN, Results, Running};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const SHARDS: usize = 4;

/// Two profiles of the lab's vCenter, so that there is something to split.
fn two_profiles(place: &Place, lab: &LabServer) -> String {
    let mut providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    providers["second"] = providers["vsphere"].clone();
    place.write("two.json", &providers.to_string()).display().to_string()
}

/// Verdict and reason to skip of each cell.
fn verdicts(results: &Results) -> BTreeMap<String, (String, Value)> {
    let run = results.run();
    let cells = run["cells"].as_array().unwrap().iter();
    cells
        .map(|cell| {
            let text = |key: &str| cell[key].as_str().unwrap().to_owned();
            (text("id"), (text("verdict"), cell["skipped_because"].clone()))
        })
        .collect()
}

#[test]
fn four_shards_merge_to_the_verdicts_of_one_process_also_when_one_is_killed_and_run_again() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    // A remote destination is not configured, so that two cells are skipped for a reason of their own.
    let start = |shard: usize| -> Running {
        let args = format!("run --results volume -p vsphere --shards {SHARDS} --run-set nightly-7 -j 8");
        Running::start(lab.command(&place, &args).env("JOB_COMPLETION_INDEX", shard.to_string()))
    };
    let whole = Running::start(&mut lab.command(&place, "run --results whole -p vsphere -j 8 --set max_concurrent=8"));
    let mut running: Vec<Running> = (0..SHARDS).map(start).collect();
    let mut killed = running.remove(2);
    killed.until("plan …");
    killed.signal("KILL");
    assert_eq!(killed.end().code, None);
    for shard in running {
        shard.end().exits(0);
    }
    whole.end().exits(0);
    let merge = || place.run("report merge --out joined volume");
    let refused = merge().exits(2);
    refused.says("shard 2/4: run mm-").says("was killed").says("--allow-missing");
    assert!(!place.path("joined").exists());

    start(2).end().exits(0);
    let tell = "--termination-message message --result-file passed=passed.txt --result-file verdict=verdict.txt";
    place.run(&format!("report merge --out joined {tell} volume")).exits(0).says("passed");
    let joined = Results { dir: place.path("joined") };
    let run = joined.run();

    let one = Results { dir: place.path("whole/latest") };
    assert_eq!(verdicts(&joined), verdicts(&one));
    assert_eq!(
        (&run["verdict"], &run["exit_code"], &run["counts"]),
        (&json!("passed"), &json!(0), &one.run()["counts"])
    );
    assert!(run["counts"]["skipped"].as_u64().unwrap() > 0);
    assert_eq!(fs::read_to_string(place.path("passed.txt")).unwrap(), run["counts"]["passed"].to_string());
    assert_eq!(fs::read_to_string(place.path("verdict.txt")).unwrap(), "passed");
    assert!(fs::read_to_string(place.path("message")).unwrap().starts_with("passed: "));
    suites_and_trace_are_whole(&joined, &one);

    // Every shard has its own link, and the volume's `latest` is nobody's.
    for shard in 0..SHARDS {
        let own = Results { dir: place.path(&format!("volume/latest-{shard}-of-{SHARDS}")) };
        let run = own.run();
        assert_eq!((&run["shard"], &run["set"]["name"]), (&json!(format!("{shard}/4")), &json!("nightly-7")));
        let elsewhere = run["cells"].as_array().unwrap().iter().filter_map(|c| c["skipped_because"].as_str());
        assert!(elsewhere.filter(|why| why.starts_with("in another shard (")).count() >= 4, "{run:#}");
    }
    assert!(!place.path("volume/latest").exists());

    // What the killed one left is finished from its ledger; the others' are left as they are.
    Running::start(&mut lab.command(&place, "clean --results volume --set timeouts.request=5s"))
        .end()
        .exits(0)
        .says(", 0 left");
    lab.ends_clean();
}

fn suites_and_trace_are_whole(joined: &Results, one: &Results) {
    let names = |results: &Results| -> Vec<String> {
        let xml = results.text("junit.xml");
        let document = roxmltree::Document::parse(&xml).unwrap();
        let suites = document.root_element().children().filter(|n| n.has_tag_name("testsuite"));
        let mut names: Vec<String> = suites.map(|n| n.attribute("name").unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(joined), names(one));
    let mut roots = 0;
    let mut traces = std::collections::BTreeSet::new();
    for line in joined.lines("traces.jsonl") {
        for scope in line["resourceSpans"].as_array().unwrap().iter().flat_map(|r| r["scopeSpans"].as_array().unwrap())
        {
            for span in scope["spans"].as_array().unwrap() {
                roots += usize::from(span["parentSpanId"].as_str().unwrap_or_default().is_empty());
                traces.insert(span["traceId"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!((roots, traces.len()), (1, 1));
    assert!(joined.text("metrics.prom").contains("mtv_matrix_cells{verdict=\"passed\"}"));
    assert!(joined.text("report.html").contains("nightly-7"));
}

#[test]
fn parts_by_provider_are_one_set_too() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let providers = two_profiles(&place, &lab);
    let run = |provider: &str| -> Ended {
        let args = format!(
            "--providers-json {providers} run {RUN} --results volume -s {COLD} --provider {provider} --part-of vsphere second"
        );
        Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end()
    };
    run("second").exits(0).says("1 passed, 1 in other shards");
    place.run("report merge --out joined volume").exits(2).says("shard vsphere: no run of it was found");
    run("vsphere").exits(0);
    place.run("report merge --out joined volume").exits(0).says("2 cells in ").says("2 passed");
    run("elsewhere").exits(2).says("`elsewhere` is not one of the parts second, vsphere");
}

#[test]
fn a_shard_that_cannot_be_told_is_refused_with_the_variable_s_name() {
    let place = Place::new();
    let refused = place.run("run --lab --shards 4").exits(2);
    refused.says("JOB_COMPLETION_INDEX, which is not set").says("--shard K/4");
    let mut command = place.command("run --lab --shards 4");
    let refused = Running::start(command.env("JOB_COMPLETION_INDEX", "4")).end().exits(2);
    refused.says("JOB_COMPLETION_INDEX, which is `4`").says("0 <= K < N");
    place.run("run --lab --shard 4/4").exits(2).says("write K/N with 0 <= K < N");
    place.run("run --lab --shard 0/4 --shards 4").exits(2).says("cannot be used with");
    assert!(!place.path("results").exists());
}

#[test]
fn a_shard_that_starts_again_finishes_what_its_killed_one_began_before_it_begins() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let start = |index: usize| {
        let args = "run --results volume -p vsphere --shards 2 --run-set night-8 --set timeouts.request=2s";
        Running::start(lab.command(&place, args).env("JOB_COMPLETION_INDEX", index.to_string()))
    };
    let mut killed = start(1);
    killed.until("plan …");
    killed.signal("KILL");
    killed.end();
    let link = || fs::read_link(place.path("volume/latest-1-of-2")).unwrap().display().to_string();
    let first = link();
    // Another shard is no try of this one.
    let other = start(0).end().exits(0);
    assert!(!other.out.contains("an earlier try"), "{}", other.out);
    let again = start(1).end().exits(0);
    let at = |text: &str| again.out.find(text).unwrap_or_else(|| panic!("`{text}` is missing:\n{}", again.out));
    assert!(at(&format!("an earlier try of this shard was run {first}: ")) < at("prepare …"), "{}", again.out);
    assert_ne!(link(), first);
    // Its ledger holds nothing any more.
    let cleaned = Running::start(&mut lab.command(&place, &format!("clean --results volume/{first}"))).end();
    cleaned.exits(0).says("0 removed, 0 left");
    lab.ends_clean();
}
