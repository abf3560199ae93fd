//! Expansion, decisions, filters and shards.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::{LoadRequest, Loaded, load};

fn loaded(set: &[&str]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let providers = r#"{"vsphere": {"type": "vsphere", "api_url": "https://v/sdk", "username": "u", "password": "p"},
        "ovirt": {"type": "ovirt", "api_url": "https://o/api", "username": "u", "password": "p"},
        "ova": {"type": "ova", "api_url": "n:/s"}}"#;
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        providers_text: Some((providers.to_owned(), "test".to_owned())),
        scenarios_default: true,
        ..LoadRequest::default()
    };
    load(&request).unwrap_or_else(|e| panic!("{e}"))
}

fn cells(loaded: &Loaded, selection: &Selection) -> Result<Vec<Cell>, MatrixError> {
    expand(&loaded.settings, &loaded.providers, &loaded.scenarios, selection)
}

fn reason<'a>(cells: &'a [Cell], id: &str) -> &'a str {
    match &cells.iter().find(|c| c.id.as_str() == id).unwrap().decision {
        Decision::Run => "run",
        Decision::Skip(reason) => reason,
    }
}

#[test]
fn every_profile_meets_every_scenario_and_each_cell_is_decided() {
    let all = cells(&loaded(&[]), &Selection::default()).unwrap();
    assert_eq!(all.len(), 24);
    assert_eq!(reason(&all, "vsphere/test_sanity_cold_mtv_migration"), "run");
    assert_eq!(reason(&all, "vsphere/test_warm_remote_ocp"), "`remote_ocp_cluster` is not set");
    assert_eq!(
        reason(&all, "ova/test_sanity_warm_mtv_migration"),
        "ova does not support warm migration: an OVA is a file and does not run"
    );
    assert_eq!(reason(&all, "ovirt/test_sanity_warm_mtv_migration"), "run");
    assert!(all.windows(2).all(|w| w[0].expected >= w[1].expected));
    let remote = cells(&loaded(&["remote_ocp_cluster=lab"]), &Selection::default()).unwrap();
    let run =
        |provider: &str| remote.iter().filter(|c| c.decision == Decision::Run && c.profile.name == provider).count();
    assert_eq!((run("vsphere"), run("ovirt")), (8, 8));
}

#[test]
fn an_encrypted_disk_without_a_passphrase_skips_its_cell_and_one_of_the_vm_or_of_the_profile_opens_it() {
    let selection = Selection { scenarios: vec!["test_luks_*".to_owned()], ..Selection::default() };
    let without = cells(&loaded(&[]), &selection).unwrap();
    let said = reason(&without, "vsphere/test_luks_cold_migration");
    assert_eq!(
        said,
        "no `luks_passphrase` is given for VM `mtv-tests-rhel9-luks`, in profile `vsphere` or for it alone"
    );
    assert_eq!(reason(&without, "vsphere/test_luks_cold_migration_wrong_key"), "run");
    let mut given = loaded(&[]);
    if let Some(profile) = given.providers.get_mut("vsphere")
        && let crate::config::PlatformConfig::Vsphere(config) = &mut profile.config
    {
        config.luks_passphrase = Some("x".to_owned().into());
    }
    assert_eq!(reason(&cells(&given, &selection).unwrap(), "vsphere/test_luks_cold_migration"), "run");
}

#[test]
fn a_host_as_the_source_needs_a_vcenter_that_clones_for_it() {
    let selection = Selection { scenarios: vec!["test_sanity_cold_mtv_migration".to_owned()], ..Selection::default() };
    let asked = |cloner: bool| {
        let mut given = loaded(&[]);
        let vcenter = given.providers["vsphere"].clone();
        if let Some(profile) = given.providers.get_mut("vsphere")
            && let crate::config::PlatformConfig::Vsphere(config) = &mut profile.config
        {
            config.esxi = true;
            config.cloner = cloner.then(|| std::sync::Arc::new(vcenter));
        }
        reason(&cells(&given, &selection).unwrap(), "vsphere/test_sanity_cold_mtv_migration").to_owned()
    };
    assert!(asked(false).contains("no vCenter is named by `clone_provider`"));
    assert_eq!(asked(true), "run");
}

#[test]
fn storage_classes_multiply_and_are_named_only_where_there_are_several() {
    let one = cells(&loaded(&["storage_class=nfs"]), &Selection::default()).unwrap();
    assert_eq!((one.len(), one[0].storage_class.as_str()), (24, "nfs"));
    assert!(one.iter().all(|c| !c.id.as_str().contains('@')));
    let two = cells(&loaded(&["storage_class=nfs,rbd,nfs"]), &Selection::default()).unwrap();
    assert_eq!(two.len(), 48);
    assert!(two.iter().all(|c| c.id.as_str().ends_with(&format!("@{}", c.storage_class))));
}

#[test]
fn selection_takes_names_globs_and_tags_and_refuses_what_is_not_there() {
    let loaded = loaded(&[]);
    let pick = |providers: &[&str], scenarios: &[&str], tags: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let selection = Selection {
            providers: own(providers),
            scenarios: own(scenarios),
            tags: own(tags),
            filter: None,
            again: None,
        };
        cells(&loaded, &selection).map(|c| c.len()).map_err(|e| e.to_string())
    };
    assert_eq!(pick(&["ov*"], &["*_comprehensive"], &[]), Ok(4));
    assert_eq!(pick(&["vsphere"], &[], &["remote", "hooks"]), Ok(7));
    assert_eq!(
        pick(&["vspere"], &[], &[]),
        Err("there is no provider profile `vspere`; did you mean `vsphere`?".into())
    );
    assert_eq!(pick(&[], &[], &["teir0"]), Err("there is no tag `teir0`; did you mean `tier0`?".into()));
    assert_eq!(pick(&[], &["*hook*"], &["remote"]), Err("the selection matches no cell".into()));
}

#[test]
fn filters_bind_not_before_and_before_or() {
    let loaded = loaded(&[]);
    let count = |text: &str| {
        let selection = Selection { filter: Some(Filter::parse(text).unwrap()), ..Selection::default() };
        cells(&loaded, &selection).unwrap().len()
    };
    assert_eq!(count("tag(tier0) and provider(vsphere*) and not tag(warm)"), 3);
    assert_eq!(count("platform(ova) or tag(hooks) & !provider(ova)"), 8 + 2 + 6);
    assert_eq!(count("(platform(ova)|tag(hooks)) & !provider(ova)"), 6);
    assert_eq!(count("scenario(*remote*)"), 6);
}

#[test]
fn a_scenario_that_runs_only_where_it_is_named_is_no_part_of_any_other_selection() {
    let loaded = loaded(&[]);
    let lifecycle = |selection: Selection| {
        let cells = cells(&loaded, &selection).unwrap();
        cells.iter().filter(|cell| cell.scenario.opt_in).count()
    };
    let named = |scenarios: &[&str], tags: &[&str], filter: Option<&str>| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let providers = vec!["vsphere".to_owned()];
        lifecycle(Selection { providers, scenarios: own(scenarios), tags: own(tags), filter, again: None })
    };
    for (scenarios, tags, filter) in [
        (&[][..], &[][..], None),
        (&["test_sanity_*"], &[], None),
        (&[], &["tier0"], None),
        (&[], &[], Some("not tag(warm)")),
    ] {
        assert_eq!(named(scenarios, tags, filter), 0, "{scenarios:?} {tags:?} {filter:?}");
    }
    let all = named(&[], &["lifecycle"], None);
    assert!(all > 7, "{all}");
    assert_eq!(named(&["lifecycle_*"], &[], None), all);
    assert_eq!(named(&[], &[], Some("platform(vsphere) and tag(lifecycle)")), all);
}

#[test]
fn a_filter_error_points_at_its_place() {
    let shown = |text: &str| Filter::parse(text).unwrap_err();
    assert_eq!(shown("tag(a) and tga(b)").column, 11, "{}", shown("tag(a) and tga(b)"));
    assert!(shown("tag(a) and tga(b)").to_string().contains("did you mean `tag(...)`?"));
    assert_eq!(shown("tag(a").column, 5, "{}", shown("tag(a"));
    assert_eq!(shown("tag(a) tag(b)").column, 7, "{}", shown("tag(a) tag(b)"));
    assert_eq!(shown("tag()").column, 4, "{}", shown("tag()"));
    assert_eq!(shown("").column, 0);
    assert!(shown("é(").to_string().ends_with("\n  é(\n  ^"), "{}", shown("é("));
    assert!(Filter::parse(&"(".repeat(5000)).is_err());
    assert!(Filter::parse(&"(".repeat(999)).is_err());
}

#[test]
fn the_mtv_version_decides_late() {
    let loaded = loaded(&[
        "scenarios.test_sanity_cold_mtv_migration.requires={min_mtv_version: \"2.10\"}",
        // Without its own `requires`, the Plan field alone tells.
        "scenarios.test_post_hook_retain_failed_vm.requires={}",
        "scenarios.test_sanity_warm_mtv_migration.known_issues=[{id: MTV-1, summary: broken, fixed_in: 2.9.3}]",
    ]);
    let decided = |version: &str| {
        let mut all = cells(&loaded, &Selection::default()).unwrap();
        decide_version(&mut all, version);
        ["test_sanity_cold_mtv_migration", "test_sanity_warm_mtv_migration", "test_post_hook_retain_failed_vm"]
            .map(|s| reason(&all, &format!("vsphere/{s}")).to_owned())
    };
    assert_eq!(decided("2.10.0"), ["run", "run", "run"]);
    let power = "`target_power_state` needs MTV 2.10 or newer, v2.9.3 is installed";
    assert_eq!(decided("v2.9.3"), ["needs MTV 2.10 or newer, v2.9.3 is installed", "run", power]);
    assert!(decided("2.9.2")[1].starts_with("known issue MTV-1: broken"));

    // A fix that older releases have, too.
    let mut loaded = loaded;
    let warm = loaded.scenarios.get_mut("test_sanity_warm_mtv_migration").unwrap();
    warm.known_issues[0].fixed_in = Some("2.13.0".to_owned());
    warm.known_issues[0].backports = vec!["2.11.4".to_owned()];
    let runs = |version: &str| {
        let mut all = cells(&loaded, &Selection::default()).unwrap();
        decide_version(&mut all, version);
        reason(&all, "vsphere/test_sanity_warm_mtv_migration") == "run"
    };
    let versions = ["2.10.9", "2.11.3", "2.11.4", "2.12.9", "2.13.0"];
    assert_eq!(versions.map(runs), [false, false, true, false, true]);
}

#[test]
fn shards_split_all_cells_evenly_and_each_runs_once() {
    let loaded = loaded(&["remote_ocp_cluster=lab"]);
    let whole = cells(&loaded, &Selection::default()).unwrap();
    let runnable: Vec<_> = whole.iter().filter(|c| c.decision == Decision::Run).collect();
    let fair = runnable.iter().map(|c| c.expected.as_secs() / 60).sum::<u64>() / 3;
    let mut ran = Vec::new();
    for index in 0..3 {
        let mut all = cells(&loaded, &Selection::default()).unwrap();
        Shard::Index { index, of: 3 }.apply(&mut all);
        let mine: Vec<_> = all.iter().filter(|c| c.decision == Decision::Run).collect();
        let minutes: u64 = mine.iter().map(|c| c.expected.as_secs() / 60).sum();
        assert!(minutes.abs_diff(fair) <= 20, "shard {index}: {minutes} minutes of a fair {fair}");
        ran.extend(mine.into_iter().map(|c| c.id.clone()));
        for cell in all.iter().filter(|c| c.shard.is_some()) {
            let other = cell.shard.clone().unwrap();
            assert_ne!(other, format!("{index}/3"));
            assert_eq!(cell.decision, Decision::Skip(format!("in another shard ({other})")));
        }
    }
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), runnable.len());
    for wrong in ["3/3", "x", "1", "-1/3", "0/0"] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
    assert_eq!("0/3".parse::<Shard>().unwrap().to_string(), "0/3");
}

#[test]
fn shards_of_one_set_agree_on_its_id_and_nobody_else_does() {
    let one = loaded(&["remote_ocp_cluster=lab"]);
    let all = cells(&one, &Selection::default()).unwrap();
    let shard = |index, of| Shard::Index { index, of };
    let set = shard(0, 3).set(&all, None);
    assert_eq!(set.shards, ["0/3", "1/3", "2/3"]);
    let last = shard(2, 3).set(&all, None);
    assert_eq!((&last.id, last.index, last.shard()), (&set.id, 2, "2/3"));
    assert_ne!(shard(0, 4).set(&all, None).id, set.id, "another number of shards");
    assert_ne!(shard(0, 3).set(&all, Some("tuesday")).id, set.id, "another name");
    assert_ne!(shard(0, 3).set(&all[1..], None).id, set.id, "other cells");
    let fewer = cells(&loaded(&[]), &Selection::default()).unwrap();
    assert_ne!(shard(0, 3).set(&fewer, None).id, set.id, "the same cells, of which other ones run");
}

#[test]
fn a_profile_is_one_part_of_all_profiles_and_leaves_the_rest_to_them() {
    let loaded = loaded(&["remote_ocp_cluster=lab"]);
    let names: Vec<String> = ["vsphere", "ovirt", "ova", "ovirt"].map(str::to_owned).to_vec();
    let part = Shard::profile("vsphere", &names).unwrap();
    let mut all = cells(&loaded, &Selection::default()).unwrap();
    let set = part.set(&all, None);
    assert_eq!((set.shards.join(" "), set.shard()), ("ova ovirt vsphere".to_owned(), "vsphere"));
    part.apply(&mut all);
    assert_eq!(all.iter().filter(|c| c.decision == Decision::Run).count(), 8);
    assert!(all.iter().all(|c| c.profile.name != "vsphere" || c.decision == Decision::Run));
    assert!(Shard::profile("hyperv", &names).is_err());
}

proptest! {
    /// Every cell in exactly one shard, and no shard longer than the best possible plus the longest cell.
    #[test]
    fn any_split_is_complete_and_balanced(minutes in prop::collection::vec(1u64..90, 1..60), of in 1usize..9) {
        let loaded = loaded(&["remote_ocp_cluster=lab"]);
        let model = cells(&loaded, &Selection::default()).unwrap().into_iter().find(|c| c.decision == Decision::Run).unwrap();
        let all: Vec<Cell> = minutes.iter().enumerate().map(|(n, minutes)| Cell {
            id: crate::api::names::CellId::new("p", &format!("s{n}"), None),
            expected: std::time::Duration::from_secs(minutes * 60),
            ..model.clone()
        }).collect();
        let mut times_run = vec![0; all.len()];
        let mut longest_shard = 0;
        for index in 0..of {
            let mut mine = all.clone();
            Shard::Index { index, of }.apply(&mut mine);
            let mut load = 0;
            for (n, cell) in mine.iter().enumerate().filter(|(_, c)| c.decision == Decision::Run) {
                times_run[n] += 1;
                load += cell.expected.as_secs() / 60;
            }
            longest_shard = longest_shard.max(load);
        }
        prop_assert!(times_run.iter().all(|times| *times == 1));
        let fair = minutes.iter().sum::<u64>().div_ceil(u64::try_from(of).unwrap());
        prop_assert!(longest_shard <= fair + minutes.iter().max().unwrap());
    }
}

/// An expression as text together with its value, computed without the parser.
fn expression(cell: Arc<Cell>) -> impl Strategy<Value = (String, bool)> {
    let has = |c: &Cell, t: &str| c.scenario.tags.iter().any(|x| x == t);
    let tags = ["tier0", "warm", "remote", "hooks"].map(|t| (format!("tag({t})"), has(&cell, t)));
    let others = [
        ("provider( vs* )".to_owned(), cell.profile.name.starts_with("vs")),
        ("platform(ova)".to_owned(), cell.profile.platform.name() == "ova"),
        ("scenario(*cold*)".to_owned(), cell.scenario.name.contains("cold")),
    ];
    let leaves: Vec<(String, bool)> = tags.into_iter().chain(others).collect();
    // Everything is in brackets but chains of one operator, so that no precedence is assumed.
    prop::sample::select(leaves).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), any::<bool>())
                .prop_map(|((t, v), word)| (if word { format!("not ({t})") } else { format!("!({t})") }, !v)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| {
                let text: Vec<String> = parts.iter().map(|(t, _)| format!("({t})")).collect();
                (text.join(" and "), parts.iter().all(|(_, v)| *v))
            }),
            prop::collection::vec(inner, 1..4).prop_map(|parts| {
                let text: Vec<String> = parts.iter().map(|(t, _)| format!("({t})")).collect();
                (text.join("|"), parts.iter().any(|(_, v)| *v))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_filter_says_what_an_independent_reading_says(
        (cell, (text, expected)) in (0usize..24).prop_flat_map(|n| {
            let all = cells(&loaded(&[]), &Selection::default()).unwrap();
            let cell = Arc::new(all[n].clone());
            (Just(Arc::clone(&cell)), expression(cell))
        })
    ) {
        prop_assume!(text.len() <= 1000);
        let filter = Filter::parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(filter.matches(&cell), expected, "{}", text);
    }

    #[test]
    fn no_text_breaks_the_parser(text in ".{0,60}") {
        let _ = Filter::parse(&text);
    }
}

#[test]
fn a_flag_of_the_cluster_that_is_off_skips_what_hangs_on_it() {
    let loaded = loaded(&[]);
    let decided = |flags: &[(&str, bool)], version: &str| {
        let mut all = cells(&loaded, &Selection::default()).unwrap();
        let flags = flags.iter().map(|(key, on)| ((*key).to_owned(), *on)).collect();
        decide_gates(&mut all, version, &flags);
        reason(&all, "vsphere/test_sanity_warm_mtv_migration").to_owned()
    };
    assert_eq!(decided(&[], "2.11"), "run", "on where nothing is said");
    let off = "warm migration from vsphere is switched off: `controller_vsphere_incremental_backup` of the ForkliftController is off";
    assert_eq!(decided(&[("controller_vsphere_incremental_backup", false)], "2.11"), off);
    assert_eq!(decided(&[("controller_ovirt_warm_migration", false)], "2.11"), "run", "another platform's");
}

#[test]
fn platforms_newer_than_the_installed_mtv_are_skipped_with_its_version() {
    let providers = r#"{"ec2": {"type": "ec2", "region": "r", "access_key_id": "a", "secret_access_key": "s", "target_az": "z"},
        "hv": {"type": "hyperv", "fqdn": "h", "smb_url": "//h/s", "username": "u", "password": "p"}}"#;
    let dir = tempfile::tempdir().unwrap();
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        providers_text: Some((providers.to_owned(), "test".to_owned())),
        scenarios_default: true,
        ..LoadRequest::default()
    };
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let mut all = cells(&loaded, &Selection::default()).unwrap();
    assert_eq!(
        reason(&all, "ec2/test_cold_migration_comprehensive").split(':').next(),
        Some("ec2 does not support static IPs")
    );
    assert_eq!(reason(&all, "hv/test_cold_migration_comprehensive"), "run", "judged when the VM is read");
    decide_version(&mut all, "2.10.4");
    let old = "cold migration from ec2 needs MTV 2.11 or newer, 2.10.4 is installed";
    assert_eq!(reason(&all, "ec2/test_sanity_cold_mtv_migration"), old);
    // They share their source VMs, which MTV powers off.
    assert!(all.iter().all(|cell| cell.profile.max_concurrent == Some(1)));
}

#[test]
fn what_mtv_does_not_carry_over_is_not_judged_until_the_release_that_does() {
    use crate::config::Platform;
    let pvc = |platform, version| support::not_judged("pvc-names", platform, version);
    assert!(pvc(Platform::Ovirt, Some("2.12.5")).is_some_and(|why| why.contains("up to 2.12")));
    assert_eq!(pvc(Platform::Ovirt, Some("2.13.0")), None);
    assert!(pvc(Platform::Hyperv, None).is_some(), "an unknown release is taken for an old one");
    assert_eq!(pvc(Platform::Vsphere, Some("2.11")), None);
    assert!(support::not_judged("labels", Platform::Ec2, Some("2.12")).is_some());
    assert_eq!(support::not_judged("cpu", Platform::Ec2, None), None);
}
