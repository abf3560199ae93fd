//! `metrics.prom`: the run for Prometheus, in the text format that a node exporter's textfile collector, a
//! Pushgateway and an OpenMetrics parser all read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::model::{CellModel, RunModel, span};
use crate::event::{Outcome, Verdict};

/// Upper bounds of the stages' histogram, in seconds; a migration takes minutes to hours.
const BUCKETS: [u32; 12] = [1, 5, 15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200];
const VERDICTS: [Verdict; 6] =
    [Verdict::Passed, Verdict::Failed, Verdict::Errored, Verdict::Blocked, Verdict::Skipped, Verdict::Interrupted];

/// A label's value.
fn escaped(text: &str) -> String {
    super::clean(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP mtv_matrix_{name} {help}\n# TYPE mtv_matrix_{name} {kind}");
    }
    fn sample(&mut self, name: &str, pairs: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "mtv_matrix_{name}{} {value}", labels(pairs));
    }
}

fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

fn of_cell(cell: &CellModel) -> [(&str, &str); 4] {
    let info = &cell.info;
    [
        ("profile", &info.profile),
        ("platform", &info.platform),
        ("scenario", &info.scenario),
        ("storage_class", &info.storage_class),
    ]
}

/// The page as text.
pub fn render(model: &RunModel) -> String {
    let mut page = Page::default();
    run(model, &mut page);
    cells(model, &mut page);
    stages(model, &mut page);
    transfers(model, &mut page);
    page.0.push_str("# EOF\n");
    page.0
}

fn run(model: &RunModel, page: &mut Page) {
    let environment = &model.environment;
    let unknown = "unknown";
    page.family("run_info", "gauge", "The run that the other values are of.");
    page.sample(
        "run_info",
        &[
            ("run", model.run_name()),
            ("mtv_version", environment.mtv_version.as_deref().unwrap_or(unknown)),
            ("ocp_version", environment.ocp_version.as_deref().unwrap_or(unknown)),
            ("cluster", environment.cluster.as_deref().unwrap_or(unknown)),
            ("tool_version", &environment.tool_version),
            ("shard", model.shard.as_deref().unwrap_or_default()),
        ],
        1,
    );
    page.family("run_duration_seconds", "gauge", "How long the run took.");
    page.sample("run_duration_seconds", &[], seconds(model.milliseconds()));
    page.family("run_end_timestamp_seconds", "gauge", "When the run ended.");
    page.sample("run_end_timestamp_seconds", &[], model.last.map_or(0, |at| at.as_second()));
    if let Some(end) = &model.end {
        page.family("run_exit_code", "gauge", "The exit code of the run.");
        page.sample("run_exit_code", &[], end.exit_code);
    }
    page.family("leftovers", "gauge", "Things that the run made and could not remove.");
    page.sample("leftovers", &[], model.leftovers.len());
}

fn cells(model: &RunModel, page: &mut Page) {
    page.family("cells", "gauge", "Cells by verdict.");
    for verdict in VERDICTS {
        let n = model.cells.iter().filter(|cell| cell.final_verdict() == verdict).count();
        page.sample("cells", &[("verdict", verdict.name())], n);
    }
    page.family("flaky_cells", "gauge", "Cells that passed on a retry only.");
    page.sample("flaky_cells", &[], model.counts().flaky);
    page.family("checks", "gauge", "Checks of migrated VMs by outcome, last attempts only.");
    let outcome = |wanted: fn(&Outcome) -> bool| {
        model.cells.iter().flat_map(CellModel::findings).filter(|finding| wanted(&finding.outcome)).count()
    };
    let passed: usize = model.cells.iter().map(CellModel::checks_passed).sum();
    page.sample("checks", &[("outcome", "passed")], passed);
    page.sample("checks", &[("outcome", "failed")], outcome(|o| matches!(o, Outcome::Failed { .. })));
    page.sample("checks", &[("outcome", "not-judged")], outcome(|o| matches!(o, Outcome::NotJudged { .. })));
    let own = || model.cells.iter().filter(|cell| cell.elsewhere.is_none());
    page.family("cell_verdict", "gauge", "1 for the verdict of each cell.");
    for cell in own() {
        let [profile, platform, scenario, class] = of_cell(cell);
        let verdict = ("verdict", cell.final_verdict().name());
        page.sample("cell_verdict", &[profile, platform, scenario, class, verdict], 1);
    }
    page.family("cell_duration_seconds", "gauge", "From the first attempt's start to the last one's end.");
    for cell in own().filter(|cell| cell.ended().is_some()) {
        page.sample("cell_duration_seconds", &of_cell(cell), seconds(cell.milliseconds()));
    }
}

fn stages(model: &RunModel, page: &mut Page) {
    let mut by_stage: BTreeMap<(_, &str), Vec<i64>> = BTreeMap::new();
    for cell in &model.cells {
        for stage in cell.attempts.iter().flat_map(|attempt| &attempt.stages).filter(|stage| stage.ended.is_some()) {
            let took = span(Some(stage.started), stage.ended);
            by_stage.entry((stage.stage, cell.info.profile.as_str())).or_default().push(took);
        }
    }
    page.family("stage_duration_seconds", "histogram", "Stages of all attempts.");
    for ((stage, profile), all) in &by_stage {
        let pairs = [("stage", stage.name()), ("profile", *profile)];
        let [stage, profile] = pairs;
        for bound in BUCKETS {
            let below = all.iter().filter(|took| **took <= i64::from(bound) * 1000).count();
            page.sample("stage_duration_seconds_bucket", &[stage, profile, ("le", &format!("{bound}.0"))], below);
        }
        page.sample("stage_duration_seconds_bucket", &[stage, profile, ("le", "+Inf")], all.len());
        page.sample("stage_duration_seconds_sum", &pairs, seconds(all.iter().sum()));
        page.sample("stage_duration_seconds_count", &pairs, all.len());
    }
}

fn transfers(model: &RunModel, page: &mut Page) {
    let mut copied = Vec::new();
    for cell in &model.cells {
        for (vm, transfer) in cell.deciding().into_iter().flat_map(|attempt| &attempt.transfers) {
            // By what was cloned: a series lasts over many runs.
            let vm = model.run.as_ref().map_or(vm.as_str(), |run| run.base_of(vm));
            copied.push((cell, vm, transfer.megabytes, span(Some(transfer.started), transfer.ended)));
        }
    }
    page.family("transfer_bytes", "gauge", "Size of each VM's disks as MTV copied them.");
    for (cell, vm, megabytes, _) in &copied {
        let [profile, platform, scenario, class] = of_cell(cell);
        page.sample("transfer_bytes", &[profile, platform, scenario, class, ("vm", vm)], megabytes * 1_048_576);
    }
    page.family("transfer_bytes_per_second", "gauge", "Rate of that copy; of a warm migration the first one.");
    for (cell, vm, megabytes, took) in copied.iter().filter(|(.., took)| *took > 0) {
        let [profile, platform, scenario, class] = of_cell(cell);
        let rate = *megabytes as f64 * 1_048_576.0 * 1000.0 / *took as f64;
        page.sample(
            "transfer_bytes_per_second",
            &[profile, platform, scenario, class, ("vm", vm)],
            format!("{rate:.0}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::{Event, EventKind, Stage, VmProgress};
    use crate::report::fixture;

    /// A strict reading of the text format: every sample belongs to the family announced last, and no series
    /// comes twice.
    fn samples(text: &str) -> BTreeMap<String, f64> {
        let mut family = String::new();
        let mut families = BTreeSet::new();
        let mut found = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} comes twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
                assert!(name == family || base == family, "{name} stands in {family}");
                assert!(found.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} comes twice");
            }
        }
        assert!(text.ends_with("# EOF\n"));
        found
    }

    #[test]
    fn verdicts_leftovers_and_stage_durations_are_counted() {
        let page = render(&RunModel::from_events(&fixture::events()));
        let all = samples(&page);
        assert_eq!(all["mtv_matrix_cells{verdict=\"passed\"}"], 2.0);
        assert_eq!(all["mtv_matrix_cells{verdict=\"failed\"}"], 1.0);
        assert_eq!(all["mtv_matrix_cells{verdict=\"interrupted\"}"], 0.0);
        assert_eq!(all["mtv_matrix_flaky_cells"], 1.0);
        assert_eq!(all["mtv_matrix_leftovers"], 1.0);
        assert_eq!(all["mtv_matrix_run_exit_code"], 1.0);
        let stage = |suffix: &str| all[&format!("mtv_matrix_stage_duration_seconds_{suffix}")];
        assert_eq!(stage("count{stage=\"plan\",profile=\"vsphere\"}"), 4.0);
        assert_eq!(stage("bucket{stage=\"plan\",profile=\"vsphere\",le=\"+Inf\"}"), 4.0);
        assert_eq!(stage("sum{stage=\"plan\",profile=\"vsphere\"}"), 4.0, "a second each");
    }

    #[test]
    fn the_rate_is_the_disks_size_over_the_time_of_the_first_copy() {
        let mut events = fixture::events();
        let cell = fixture::cell("cold");
        let started = events.iter().position(|e| matches!(e.kind, EventKind::StageStarted { .. })).unwrap();
        let at = events[started].at;
        let told = |seconds: i64, step: &str, total_mb, precopies| Event {
            seq: 0,
            at: at + jiff::SignedDuration::from_secs(seconds),
            kind: EventKind::Progress {
                cell: cell.clone(),
                attempt: 1,
                vms: vec![VmProgress {
                    vm: "a\"b".into(),
                    step: Some(step.into()),
                    total_mb,
                    precopies,
                    ..VmProgress::default()
                }],
            },
        };
        events.splice(
            started + 1..started + 1,
            [
                told(0, "Initialize", None, Some(0)),
                told(10, "DiskTransfer", Some(1000), Some(0)),
                told(30, "DiskTransfer", Some(1000), Some(1)),
                told(90, "Cutover", None, Some(2)),
            ],
        );
        assert!(events.iter().all(|e| !matches!(&e.kind, EventKind::StageStarted { stage: Stage::Migrate, .. })));
        let all = samples(&render(&RunModel::from_events(&events)));
        let rate = all.iter().find(|(name, _)| name.starts_with("mtv_matrix_transfer_bytes_per_second")).unwrap();
        assert!(rate.0.contains("vm=\"a\\\"b\""), "{}", rate.0);
        assert_eq!(*rate.1, (1000.0 * 1_048_576.0_f64 / 20.0).round());
    }

    #[test]
    fn alerts_and_dashboard_ask_for_series_and_verdicts_that_a_run_writes() {
        let page = render(&RunModel::from_events(&fixture::events()));
        let written: BTreeSet<&str> = page
            .lines()
            .map(|line| line.strip_prefix("# TYPE ").unwrap_or(line))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        let series = regex::Regex::new("mtv_matrix_[a-z_]+").unwrap();
        let verdicts = regex::Regex::new(r#"verdict=~?\\?"([a-z|]+)"#).unwrap();
        let alerts = include_str!("../../manifests/monitoring/alerts.yaml");
        let dashboard = include_str!("../../manifests/monitoring/dashboard.json");
        for asked in series.find_iter(alerts).chain(series.find_iter(dashboard)) {
            assert!(written.contains(asked.as_str()), "nobody writes {}", asked.as_str());
        }
        let mut named = 0;
        for asked in verdicts.captures_iter(alerts).chain(verdicts.captures_iter(dashboard)) {
            for verdict in asked[1].split('|') {
                assert!(VERDICTS.iter().any(|known| known.name() == verdict), "no cell is ever {verdict}");
                named += 1;
            }
        }
        assert!(named > 10, "only {named} verdicts were found");
    }
}
