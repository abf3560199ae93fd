//! Stories on the lab: the shipped lifecycle scenarios are green, and each red one says what was expected and seen.

use crate::common::{Place, Running};

#[test]
fn every_lifecycle_scenario_passes_and_nothing_of_it_is_left() {
    let place = Place::new();
    let ended = place.run("run --lab -p vsphere -t lifecycle --results results -j 5 --set max_concurrent=5").exits(0);
    ended.says("28 passed, 5 skipped").says("hold nothing that this run made");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let junit = results.text("junit.xml");
    for case in [
        "step 3: cancel all VMs",
        "step 3: cancel mtv-win2019-79",
        "step 4: the Plan gets the condition VMAlreadyExists",
        "step 3: migrate once more, to the end",
        "step 1: start the migration, with its cutover 1h ago",
        "step 4: expect: the Plans linux and windows migrated at the same time",
        "step 5: read the marker back in the migrated VMs",
        "step 2: kill the importer of every VM",
        "step 3: kill the pod of MTV's controller",
        "step 3: from now on nobody reaches the source, for 1m",
        "step 4: set right again: the target namespace takes no further claim",
        "step 3: expect: for 10s MTV does not take up the Migration",
    ] {
        assert!(junit.contains(case), "no case `{case}`");
    }
    let spans = results.text("traces.jsonl");
    assert!(spans.contains("step 3: cancel all VMs"), "a step has a span");
    assert!(results.text("report.html").contains("step 3: cancel all VMs"));
}

#[test]
fn what_a_release_or_a_platform_alone_does_is_told_there() {
    let place = Place::new();
    let run = |args: &str, passed: &str| {
        place.run(&format!("run --lab {args} --results results")).exits(0).says(passed).says("hold nothing");
    };
    let resumed = "--lab-mtv-version 2.13 -p vsphere -s lifecycle_resume_conversion";
    run(resumed, "1 passed");
    assert!(place.results().text("junit.xml").contains("step 6: convert again what was copied, to the end"));
    run("--lab-mtv-version 2.12 -p vsphere -s lifecycle_virt_v2v_killed -s lifecycle_credentials_expired", "2 passed");
    run("-p ovirt -s lifecycle_populator_killed -s lifecycle_quota_exceeded_by_populators", "2 passed");
}

#[test]
fn a_killed_pod_other_claims_and_a_migration_that_is_taken_up_are_told_where_they_are_not_expected() {
    let place = Place::new();
    let hook = "\n  pre_hook: {expected_result: fail}";
    let one = |name: &str, keys: &str, steps: &str| {
        format!("{name}:\n  tags: [mine]\n  virtual_machines: [{{name: mtv-tests-rhel8}}]{keys}\n  steps: {steps}\n")
    };
    let grown = "\n  warm_migration: true\n  ";
    let text = [
        one("grown", grown, "[start, {wait: {for: {precopies: 1}}}, add-disk, {cutover: now}, {expect: succeeded}]"),
        one("killed", "", "[start, {kill: virt-v2v}, {expect: succeeded}]"),
        one("kept", "", "[start, {kill: virt-v2v}, {expect: failed}, retry, {expect: {ended: succeeded, pvcs: kept}}]"),
        one("taken", hook, "[start, {expect: failed}, {start: {again: true}}, {expect: {ignored: 10s}}]"),
        one("full", "", "[{fault: quota}, start, {expect: {ended: succeeded, timeout: 3s}}]"),
        one("converts", "", "[{fault: conversion}, migrate]"),
        one(
            "meanwhile",
            "",
            "[start, {wait: {for: {step: ImageConversion}}}, {fault: conversion}, {expect: succeeded}]",
        ),
    ];
    place.write("own/scenarios/mine.yaml", &text.concat());
    place.run("--config own run --lab -p vsphere --results results -t mine").exits(1).says("hold nothing");
    let said = |cell: &str| place.results().cell(&format!("vsphere/{cell}"))["problem"].to_string();
    assert!(said("killed").contains("Guest conversion pod not found"), "{}", said("killed"));
    assert!(said("kept").contains("1 of them are gone and 1 are new"), "{}", said("kept"));
    assert!(said("taken").contains("to leave Migration migration-2 alone, but it took it up"), "{}", said("taken"));
    assert!(said("full").contains("did not end within 3s"), "{}", said("full"));
    assert!(said("grown").contains("failed to find persistent volume for disk"), "{}", said("grown"));
    assert!(said("converts").contains("the migration failed at ImageConversion"), "{}", said("converts"));
    assert!(
        said("meanwhile").contains("ImageConversion"),
        "a step that runs already fails, too: {}",
        said("meanwhile")
    );
}

#[test]
fn what_mtv_leaves_of_openstack_and_ovirt_is_a_known_issue_and_is_found_where_nobody_says_so() {
    let place = Place::new();
    let shipped = "-s lifecycle_controller_killed -s lifecycle_delete_migration_in_mid_run";
    let ended =
        place.run(&format!("run --lab --lab-mtv-version 2.12 -p ovirt -p openstack {shipped} --results results"));
    ended.exits(0).says("1 passed, 3 skipped").says("known issue getPVCs in").says("known issue cleanup in");
    let one = |name: &str, steps: &str| {
        let head = "  virtual_machines: [{name: mtv-tests-rhel8}]\n  warm_migration: false\n";
        format!("{name}:\n  tags: [mine]\n{head}  steps: [start, {{wait: {{for: {{step: DiskTransfer}}}}}}, {steps}]\n")
    };
    let text = [
        one("killed", "{kill: controller}, {expect: succeeded}, verify"),
        one("deleted", "{delete: migration}, {expect: {vm: \"1\", condition: Canceled}}, {absent: {timeout: 3s}}"),
    ];
    place.write("own/scenarios/mine.yaml", &text.concat());
    let lab = "--config own run --lab --lab-mtv-version 2.12 -p ovirt -p openstack -p vsphere";
    place.run(&format!("{lab} --results results -t mine")).exits(1).says("3 passed, 3 failed");
    let said = |cell: &str| place.results().cell(cell)["problem"].to_string();
    assert!(said("openstack/killed").contains("no snapshot of MTV left"), "{}", said("openstack/killed"));
    for platform in ["ovirt", "openstack"] {
        let told = said(&format!("{platform}/deleted"));
        assert!(told.contains("PersistentVolumeClaims"), "{told}");
    }
}

#[test]
fn what_a_story_did_itself_is_no_finding_of_a_later_verify() {
    let place = Place::new();
    let patch = "{patch: {what: plan, operations: [{op: add, path: /spec/description, value: by a story}]}}";
    own(&place, "", &format!("[snapshot, {patch}, migrate, {{snapshot: later}}, verify]"));
    place.run("--config own run --lab -p vsphere --results results -s mine").exits(0).says("1 passed");
}

#[test]
fn vms_that_do_not_wait_for_one_another_are_not_throttled() {
    let place = Place::new();
    own(&place, "", "[migrate, {expect: {throttled: true}}]");
    let ended = place.run("--config own run --lab -p vsphere --results results -s mine").exits(1);
    ended.says("expected VMs of one source host to wait for others, but none did");
}

#[test]
fn the_vms_of_two_plans_wait_for_one_another_where_the_limit_is_one() {
    let place = Place::new();
    let ended = place.run("run --lab -p vsphere -s in_flight_limit_over_two_plans --results results").exits(0);
    ended.says("1 passed").says("hold nothing that this run made");
    let case = "1 did; VMs of one source host waited until the disks of others were copied";
    assert!(place.results().text("junit.xml").contains(case));
}

#[test]
fn five_vms_of_one_host_migrate_one_after_the_other_where_the_limit_is_one() {
    let place = Place::new();
    let ended = place.run("run --lab -p vsphere -s in_flight_limit_of_one --results results").exits(0);
    ended.says("1 passed").says("hold nothing that this run made");
    let case = "step 3: expect: at most 1 VMs of one source host migrated at the same time, and 1 did";
    assert!(place.results().text("junit.xml").contains(case));
}

#[test]
fn each_vendors_array_copies_a_raw_mapping_by_its_own_means_or_as_any_other_disk() {
    // `RDMCapable` in the populator's source.
    let raw = ["flashsystem", "primera3par", "pureFlashArray", "vantara"];
    let place = Place::new();
    for vendor in ["infinibox", "ontap", "powerflex", "powermax", "powerstore"].iter().chain(&raw) {
        place.write("world.yaml", &format!("vsphere: {{array: {vendor}}}\n"));
        let scenario = "test_copyoffload_rdm_physical_disk_migration";
        let args = "run --lab --world world.yaml -p vsphere --lab-mtv-version 2.13 --results results";
        let ended = place.run(&format!("{args} -s {scenario}")).exits(0);
        ended.says("1 passed").says("hold nothing that this run made");
        let told = place.results().text("events.jsonl");
        let (first, used) = if raw.contains(vendor) { ("rdm", 0) } else { ("vib", 1) };
        for (method, used) in [("vib", 1), (first, used)] {
            let wanted = format!("the array copied it by {method} on host-");
            let disk = told.lines().find(|line| line.contains(&wanted));
            let ending = format!("xcopyUsed {used}, {vendor}");
            assert!(disk.is_some_and(|line| line.contains(&ending)), "{vendor}: {method}, {ending}");
        }
    }
}

#[test]
fn what_copy_offload_lacks_is_told_at_once_and_nothing_is_cloned() {
    let place = Place::new();
    place.write("world.yaml", "vsphere: {array: netapp}\n");
    let args = "run --lab --world world.yaml -p vsphere --set storage_class=nfs --results results";
    let ended = place.run(&format!("{args} -s test_copyoffload_thin_migration")).exits(3);
    let told =
        ended.says("1 blocked").says("`storage_vendor_product: netapp` is none of flashsystem, infinibox, ontap");
    let told = told.says("the StorageProfile of nfs has no set of ReadWriteOnce and Block");
    assert!(!told.out.contains("cloned"), "{}", told.out);
}

#[test]
fn a_host_that_lets_nobody_in_ends_its_cells_before_they_migrate() {
    let place = Place::new();
    place.write("world.yaml", "vsphere: {esxi_clone_method: ssh}\n");
    let args = "run --lab --world world.yaml -p vsphere --results results -s test_copyoffload_thin_migration";
    let with = |password: &str| {
        let mut command = place.command(args);
        command.env("COPYOFFLOAD_ESXI_PASSWORD", password);
        Running::start(&mut command).end()
    };
    let ended = with("wrong").exits(3).says("refused the login of root").says("the password is wrong");
    let ended = ended.says("hold nothing that this run made");
    assert!(!ended.out.contains("migrate …"), "{}", ended.out);
}

#[test]
fn an_array_that_does_not_know_the_login_fails_the_migration_at_the_transfer() {
    let place = Place::new();
    let args = "run --lab -p vsphere --set providers.vsphere.copyoffload.storage_password=nonsense --results results";
    let ended = place.run(&format!("{args} -s test_copyoffload_thin_migration")).exits(1);
    ended
        .says("1 failed")
        .says("failed at DiskTransfer")
        .says("populator pod failed for PVC")
        .says("hold nothing that this run made");
}

#[test]
fn what_one_vm_writes_on_a_shared_disk_the_other_reads_and_a_copy_instead_is_red() {
    let place = Place::new();
    let args = "run --lab -p vsphere --lab-mtv-version 2.12 --results results -s test_shared_disk_rhel_migration";
    place.run(args).exits(0).says("1 passed").says("hold nothing that this run made");
    let told = place.results().text("events.jsonl");
    assert_eq!(told.matches("holds what the others wrote (1 files)").count(), 2, "each VM has read the other's");
    let red = place.run(&format!("{args} --defect split-disk")).exits(1);
    red.says("shared-data").says("mtv-matrix-");
    let args = args.replace("rhel", "windows");
    place
        .run(&args)
        .exits(0)
        .says("1 passed")
        .says("hold nothing that this run made")
        .says("its shared disk is called MTV");
    let told = place.results().text("events.jsonl");
    assert_eq!(told.matches("holds what the others wrote (1 files)").count(), 2, "each Windows has read the other's");
    place.run(&format!("{args} --defect split-disk")).exits(1).says("shared-data").says("volumes are called MTV");
}

#[test]
fn a_running_vm_moves_live_to_another_cluster_and_not_to_its_own() {
    let place = Place::new();
    let run = |more: &str| {
        place.run(&format!("run --lab --lab-mtv-version 2.12 --results results -s live_openshift_migration {more}"))
    };
    run("-p openshift-remote").exits(0).says("1 passed").says("hold nothing that this run made");
    run("-p openshift").exits(5).says("a VM moves live to another cluster");
}

#[test]
fn populators_of_one_host_wait_for_one_another_where_the_limit_is_two() {
    let place = Place::new();
    // MTV tells whole seconds: who waited for whom must take more than one.
    let args = "run --lab --lab-clock-scale 100 -p vsphere --lab-mtv-version 2.12 --results results -s";
    let ended = place.run(&format!("{args} test_copyoffload_vm_populator_throttling_migration")).exits(0);
    ended.says("1 passed").says("hold nothing that this run made");
    assert!(place.results().text("events.jsonl").contains("2 of 6 on host-"), "the peak of six populators is two");
}

/// One own scenario with these steps.
fn own(place: &Place, keys: &str, steps: &str) {
    let text =
        format!("mine:\n  tags: [mine]\n  virtual_machines: [{{name: mtv-tests-rhel8}}]\n{keys}  steps: {steps}\n");
    place.write("own/scenarios/mine.yaml", &text);
}

#[test]
fn an_expectation_that_is_not_met_fails_its_step_with_what_mtv_says_and_the_rest_is_not_told() {
    let place = Place::new();
    own(
        &place,
        "  pre_hook: {expected_result: fail}\n",
        "[start, {expect: {ended: failed, at: PostHook}}, {power: 'on'}]",
    );
    let ended = place.run("--config own run --lab --results results -s mine").exits(1);
    let cell = place.results().cell("vsphere/mine");
    let problem = cell["problem"]["message"].as_str().unwrap();
    assert!(
        problem.contains("mtv-tests-rhel8") && problem.ends_with("to fail at PostHook, but it failed at PreHook"),
        "{problem}"
    );
    ended.says("step 2 failed").says("hold nothing that this run made");
    let junit = place.results().text("junit.xml");
    assert!(junit.contains("step 2: expect: the migration ends failed at PostHook"), "{junit}");
    assert!(!junit.contains("step 3"), "the first step that fails ends the story");
}

#[test]
fn a_wait_that_mtv_does_not_meet_says_for_what_and_since_when() {
    let place = Place::new();
    own(&place, "", "[start, {wait: {for: {phase: Dreaming}, timeout: 2s}}, cancel]");
    let ended = place.run("--config own run --lab --lab-clock-scale 100 --results results -s mine").exits(1);
    ended.says("step 2, wait until every VM is in phase Dreaming, did not end within 2s");
    let details = place.results().cell("vsphere/mine")["problem"]["details"].to_string();
    assert!(details.contains("it was waiting for every VM is in phase Dreaming; last seen: "), "{details}");
    assert!(details.contains(", since 20"), "{details}");
}

#[test]
fn a_migrated_vm_whose_guest_does_not_come_is_found_by_its_boot() {
    let place = Place::new();
    let args = "run --lab --defect no-guest-agent --results results -s test_sanity_cold_mtv_migration --set timeouts.guest_agent=2s";
    let ended = place.run(args).exits(1);
    ended.says("guest-agent");
    let cell = place.results().cell("vsphere/test_sanity_cold_mtv_migration");
    assert!(cell["problem"]["message"].as_str().unwrap().contains("guest-agent of booted"), "{cell:#}");
    // Who does not boot does not see it: the VM ends powered off.
    place.run(&format!("{args} --set boot=false")).exits(0);
}

#[test]
fn a_story_is_told_in_words_without_a_cluster_and_a_wrong_one_is_refused_by_line() {
    let place = Place::new();
    let ended = place.run("list --explain lifecycle_cancel_in_precopy").exits(0);
    ended
        .says("-   the Plan becomes Ready (at most 6m, `timeouts.plan`)")
        .says("2.  wait until every VM has made 1 precopy (at most 1h, `timeouts.migrate`)")
        .says("remove everything that was made, however it ended");
    own(&place, "", "[start, {wiat: end}]");
    let ended = place.run("--config own list --explain mine").exits(2);
    ended.says("own/scenarios/mine.yaml:4: scenario `mine`: step 2: there is no step `wiat`; did you mean `wait`?");
}

#[test]
fn two_plans_that_do_not_meet_and_a_limit_that_does_not_act_are_found_by_the_times_that_mtv_tells() {
    let place = Place::new();
    let text = "apart:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}, {name: mtv-win2019-79}]\n  plans:\n    \
                - {name: one, virtual_machines: ['1']}\n    - {name: two, virtual_machines: ['2']}\n  steps:\n    \
                - migrate: {plan: one}\n    - migrate: {plan: two}\n    - expect: {overlap: [one, two]}\n\
                crowded:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}, {name: mtv-tests-rhel8}]\n  \
                steps: [migrate, {expect: {in_flight: 1}}]\n";
    place.write("own/scenarios/mine.yaml", text);
    place.run("--config own run --lab -p vsphere --results results -t mine").exits(1);
    let apart = place.results().cell("vsphere/apart");
    assert_eq!(apart["problem"]["message"], "expected Plans one and two to migrate at the same time");
    let crowded = place.results().cell("vsphere/crowded");
    let said = crowded["problem"]["message"].as_str().unwrap();
    assert_eq!(said, "expected 1 VMs of one host to migrate at the same time at most, but 2 did");
}

#[test]
fn a_marker_that_is_not_there_fails_and_one_that_nobody_could_write_is_not_judged() {
    let place = Place::new();
    own(
        &place,
        "",
        "[write-marker, migrate, {run: 'echo other > /var/tmp/mtv-matrix-marker'}, {run: {command: hostname, output: '^other$'}}]",
    );
    let ended = place.run("--config own run --lab -p vsphere --results results -s mine").exits(1);
    ended.says("with an output like `^other$`, found ");
    own(&place, "", "[migrate, verify, read-marker]");
    let ended = place.run("--config own run --lab -p vsphere --results results -s mine").exits(0);
    ended.says("is not judged: no marker was written, and the step has no `command`");
    // A command that does not find what was there stands for the marker.
    own(&place, "", "[migrate, verify, {read-marker: {command: cat /etc/os-release, output: Windows}}]");
    place.run("--config own run --lab -p vsphere --results results -s mine").exits(1).says("marker, VM ");
}

#[test]
fn a_marker_that_the_platform_can_write_and_did_not_is_not_judged_whatever_the_command_would_find() {
    let place = Place::new();
    let run = |set: &str| {
        let args = format!("run --lab -p vsphere --results results -s test_sanity_cold_mtv_migration {set}");
        place.run(&args).exits(0);
        let marker = findings(&place, "marker");
        assert_eq!(marker.len(), 1, "{marker:?}");
        assert_eq!(marker[0]["outcome"], "not-judged", "{marker:?}");
        marker[0]["because"].as_str().unwrap().to_owned()
    };
    // Its guest tells nothing of itself.
    place.write(
        "world.yaml",
        "vsphere: {vms: [{name: mtv-tests-rhel8, os: rhel8, power: 'on', guest: {tools: stopped}}]}\n",
    );
    let late = run("--world world.yaml --set timeouts.guest_info=1s");
    assert!(late.contains("no marker was written") && late.contains("gave up"), "{late}");
    assert!(run("--set boot=false").contains("`boot` is switched off"));
}

/// What a check found in the last run.
fn findings(place: &Place, check: &str) -> Vec<serde_json::Value> {
    let events = place.results().text("events.jsonl");
    let all = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of = all.filter(|event| event["event"] == "check-finished" && event["finding"]["check"] == check);
    of.map(|event| event["finding"].clone()).collect()
}

#[test]
fn a_failing_pre_hook_passes_where_it_is_expected_and_else_is_named_with_its_output() {
    let place = Place::new();
    let hook = "  pre_hook: {expected_result: fail}\n";
    own(&place, &format!("{hook}  expected_migration_result: fail\n"), "[migrate, verify]");
    place.run("--config own run --lab -p vsphere --results results -s mine").exits(0);
    own(&place, hook, "[migrate, verify]");
    place.run("--config own run --lab -p vsphere --results results -s mine").exits(1);
    let problem = place.results().cell("vsphere/mine")["problem"].clone();
    assert_eq!(problem["message"], "the migration failed at PreHook", "{problem:#}");
    let details = problem["details"].to_string();
    assert!(details.contains("specified backoff limit"), "MTV's own error: {details}");
    assert!(details.contains("PreHook printed: TASK [Fail as the scenario asks]"), "{details}");
    assert!(details.contains("this hook fails on purpose"), "{details}");
}

#[test]
fn what_disturbs_others_is_told_only_where_it_is_allowed() {
    let place = Place::new();
    let listed = place.run("list --lab -p vsphere -s in_flight_limit_of_one").exits(0);
    listed.says("1 run, 0 skip");
    let args = "run --lab -p vsphere --set allow_disruptive=false --results results -s in_flight_limit_of_one";
    place.run(args).exits(5).says("its step `patch` disturbs others: allow it with --allow-disruptive");
}

/// VMs whose migration fails, each for a reason of its own.
const FAIL: &str = "vsphere:
  vms:
    - {name: full, os: rhel9, fails: {at: DiskTransfer, error: \"nbdkit: error: write: No space left on device\"}}
    - {name: refused, os: rhel9, fails: {at: VirtualMachineCreation, error: \"secrets is forbidden: User \\\"forklift\\\" cannot create resource\"}}
    - {name: used-up, os: rhel9, fails: {at: VirtualMachineCreation, error: \"is forbidden: exceeded quota: compute\"}}
    - {name: broken, os: rhel9, fails: {at: ImageConversion, error: \"Guest conversion failed\"}}
";

#[test]
fn a_migration_that_failed_for_want_of_room_or_rights_is_errored_and_one_that_mtv_broke_is_failed() {
    let place = Place::new();
    place.write("world.yaml", FAIL);
    let names = ["full", "refused", "used-up", "broken"];
    let scenarios: String = names.map(|name| format!("{name}:\n  virtual_machines: [{{name: {name}}}]\n")).concat();
    place.write("own/scenarios/own.yaml", &scenarios);
    let asked = names.map(|name| format!("-s {name}")).join(" ");
    let run = "-c own run --lab --lab-clock-scale 1500 --world world.yaml -p vsphere --results results";
    place.run(&format!("{run} {asked}")).exits(1);
    let results = place.results();
    for (name, verdict, words) in [
        ("full", "errored", "a volume is full, although each claim is as large as its source disk"),
        ("refused", "errored", "the API server refused MTV a right"),
        ("used-up", "errored", "a quota of the cluster is used up"),
        ("broken", "failed", "Guest conversion failed"),
    ] {
        let cell = results.cell(&format!("vsphere/{name}"));
        assert_eq!(cell["verdict"], verdict, "{cell:#}");
        assert!(cell["problem"].to_string().contains(words), "{cell:#}");
    }
}
