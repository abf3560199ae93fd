//! What earlier runs left on the cluster. Reads only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::{Probe, Weight};
use crate::api::names::RUN_LABEL;
use crate::clock;
use crate::cluster::{Cluster, retry};

/// A run that is older is hardly one that still goes on.
const OLD_HOURS: i64 = 24;
/// So many are named.
const NAMED: usize = 5;

pub(super) async fn probe(cluster: &Cluster) -> Probe {
    let listed = Api::<Namespace>::all(cluster.client()).list(&ListParams::default().labels(RUN_LABEL)).await;
    match listed {
        Ok(list) => judge(&list.items, clock::now()),
        Err(error) => Probe::of("earlier runs", Weight::Doubt, format!("not known: {}", retry::short(&error))),
    }
}

fn judge(namespaces: &[Namespace], now: Timestamp) -> Probe {
    // Of each run the youngest namespace: one that still makes some is at work.
    let mut runs: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
    for namespace in namespaces {
        let Some(run) = namespace.labels().get(RUN_LABEL) else { continue };
        let made = namespace.creation_timestamp().map_or(now, |at| at.0);
        let seen = runs.entry(run).or_insert((0, made));
        *seen = (seen.0 + 1, seen.1.max(made));
    }
    let hours = |made: Timestamp| now.duration_since(made).as_hours();
    let old: Vec<String> = runs
        .iter()
        .filter(|(_, (_, made))| hours(*made) >= OLD_HOURS)
        .map(|(run, (count, made))| format!("{run} ({count} namespaces, {} h old)", hours(*made)))
        .collect();
    if old.is_empty() {
        let going = if runs.is_empty() { "none left anything".to_owned() } else { format!("{} at work", runs.len()) };
        return Probe::of("earlier runs", Weight::Fine, going);
    }
    let more = old.len().saturating_sub(NAMED);
    let mut named = old.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    Probe::of("earlier runs", Weight::Doubt, format!("left things behind: {named}"))
        .remedy(format!("mtv-matrix clean --older-than {OLD_HOURS}h --dry-run says what would go"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn only_a_run_whose_youngest_namespace_is_old_is_told_as_left() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let namespace = |run: &str, hours: i64| {
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(format!("{run}-{hours}"));
            namespace.labels_mut().insert(RUN_LABEL.to_owned(), run.to_owned());
            let made = now.checked_sub(hours.hours()).unwrap();
            namespace.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(made));
            namespace
        };
        let all =
            [namespace("mm-dead", 50), namespace("mm-dead", 49), namespace("mm-busy", 60), namespace("mm-busy", 1)];
        let probe = judge(&all, now);
        assert_eq!(probe.weight, Weight::Doubt);
        assert!(probe.message.contains("mm-dead (2 namespaces, 49 h old)"), "{probe:?}");
        assert!(!probe.message.contains("mm-busy") && probe.line().contains("clean --older-than 24h"), "{probe:?}");
        assert_eq!(judge(&all[2..], now).weight, Weight::Fine);
    }
}
