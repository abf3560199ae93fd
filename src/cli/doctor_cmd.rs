//! `mtv-matrix doctor`: what a run would ask first.

use serde_json::json;

use super::args::{ConfigArgs, DoctorArgs, Output};
use super::run_cmd::connect;
use super::{Stop, common, exit, print_text};
use crate::doctor::{self, Probe, Report, Weight};
use crate::lab::Lab;

pub(super) async fn run(config: &ConfigArgs, args: &DoctorArgs) -> Result<u8, Stop> {
    let lab = common::start_lab(&args.lab).await?;
    let loaded = common::load(config, Vec::new(), lab.as_ref())?;
    let cluster = connect(&loaded, lab.as_ref()).await.map_err(Stop::environment)?;
    let report = doctor::examine_all(&cluster, &loaded).await;
    let forklift = lab.as_ref().and_then(Lab::forklift);
    match args.output {
        Output::Table => print_text(&table(&report, forklift, false)),
        Output::Wide => print_text(&table(&report, forklift, true)),
        Output::Json => print_text(&probes_json(&report, forklift)),
        Output::Name => print_text(&names(&report)),
    }
    let code = if report.missing().is_empty() { exit::PASSED } else { exit::ENVIRONMENT };
    drop(cluster);
    if let Some(lab) = lab {
        lab.stop().await;
    }
    Ok(code)
}

fn probes_json(report: &Report, forklift: Option<&str>) -> String {
    let probes: Vec<serde_json::Value> = report
        .probes
        .iter()
        .map(|probe| {
            let weight = match probe.weight {
                Weight::Fine => "ok",
                Weight::Doubt => "doubt",
                Weight::Missing => "missing",
            };
            json!({"name": probe.name, "weight": weight, "message": probe.message, "remedy": probe.remedy})
        })
        .collect();
    let versions = &report.versions;
    format!(
        "{:#}\n",
        json!({
            "version": 1,
            "mtv_version": versions.mtv,
            "ocp_version": versions.ocp,
            "kubernetes_version": versions.kubernetes,
            "forklift": forklift,
            "probes": probes,
        })
    )
}

/// What is not as a run needs it.
fn names(report: &Report) -> String {
    let doubtful = |probe: &&Probe| probe.weight != Weight::Fine;
    report.probes.iter().filter(doubtful).map(|probe| format!("{}\n", probe.name)).collect()
}

/// A line a probe, its remedy below it. `wide`: with the versions.
fn table(report: &Report, forklift: Option<&str>, wide: bool) -> String {
    let mut out = String::new();
    if let Some(label) = forklift {
        out.push_str(&format!("Forklift {label}\n"));
    }
    if wide {
        let versions = &report.versions;
        for (of, version) in
            [("MTV", &versions.mtv), ("OpenShift", &versions.ocp), ("Kubernetes", &versions.kubernetes)]
        {
            out.push_str(&format!("{of} {}\n", version.as_deref().unwrap_or("unknown")));
        }
    }
    let width = report.probes.iter().map(|p| p.name.chars().count()).max().unwrap_or_default();
    for probe in &report.probes {
        let word = match probe.weight {
            Weight::Fine => "ok     ",
            Weight::Doubt => "doubt  ",
            Weight::Missing => "MISSING",
        };
        out.push_str(&format!("{word} {:<width$}  {}\n", probe.name, probe.message));
        if let Some(remedy) = &probe.remedy {
            out.push_str(&format!("        {:width$}  -> {remedy}\n", ""));
        }
    }
    out
}
