//! The Python suite's scenarios that run only where they are named: each passes on the lab where it can, and is red where
//! what it is about goes wrong.

use crate::common::{LabServer, Place, RUN, Running};

#[test]
fn scenarios_of_the_suite_pass_on_the_platforms_and_releases_that_have_what_they_are_about() {
    let place = Place::new();
    let run = |args: &str, said: &str| {
        place
            .run(&format!("run --lab {args} --results results -j 6 --set max_concurrent=6"))
            .exits(0)
            .says(said)
            .says("hold nothing");
        let results = place.results();
        results.are_whole_and_tell_no_secret();
    };
    run("-p vsphere -t tier1 --lab-mtv-version 2.12", "21 passed, 4 skipped");
    // From 2.13 on.
    run("-p vsphere -s test_resume_conversion_warm -s added_nic_disconnected --lab-mtv-version 2.13", "2 passed");
    let elsewhere =
        "-s test_ca_crt_cold_migration -s test_insecure* -s test_plan_archive_pvc_cleanup -s nested_virtualization_off";
    run(&format!("-p ovirt -p openstack -p openshift {elsewhere} --lab-mtv-version 2.12"), "8 passed, 7 skipped");
    run("-p ova -t ova", "1 passed");
    let jobs = "-s test_aap_hook_migration -s aap_hook_that_fails -s test_mtv_clusterrole*";
    run(&format!("-p ovirt -p openstack -p openshift {jobs} --lab-mtv-version 2.12"), "5 passed, 7 skipped");
    run("-p vsphere -s aap_hook_that_fails --lab-mtv-version 2.13", "1 passed");
}

#[test]
fn a_job_of_the_automation_platform_is_what_the_hook_comes_to_and_is_not_told_without_a_platform() {
    let place = Place::new();
    let text =
        "jobs:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}]\n  pre_hook: {aap_job_template_id: ID}\n";
    let one = |name: &str, id: &str| text.replace("jobs", name).replace("ID", id);
    place.write("own/scenarios/mine.yaml", &[one("fails", "9"), one("unknown", "77")].concat());
    let lab = "--config own run --lab -p vsphere --lab-mtv-version 2.13 --results results -t mine";
    place.run(lab).exits(1).says("2 failed").says("hold nothing");
    let said = |cell: &str| place.results().cell(&format!("vsphere/{cell}"))["problem"].to_string();
    assert!(said("fails").contains("failed with status: failed"), "{}", said("fails"));
    assert!(said("unknown").contains("AAP returned status 404"), "{}", said("unknown"));
    place.run(&format!("{lab} --set aap_token=wrong")).exits(1);
    assert!(said("fails").contains("AAP returned status 401"), "{}", said("fails"));
    place.results().are_whole_and_tell_no_secret();
    place.run(&format!("{lab} --set aap_url=")).exits(5).says("`aap_url` is not set");
    place.run(&lab.replace("2.13", "2.11")).exits(5).says("needs MTV 2.12");
}

#[test]
fn a_wrong_key_a_lost_setting_and_another_file_system_are_red_where_they_are_not_expected() {
    let place = Place::new();
    let luks = |name: &str, key: &str| {
        format!("{name}:\n  tags: [mine]\n  virtual_machines: [{{name: mtv-tests-rhel9-luks, luks: true{key}}}]\n")
    };
    let text = [
        luks("wrong_key", ", luks_passphrase: WRONGPASSWORD"),
        "no_key:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel9-luks}]\n".to_owned(),
        "newer_xfs:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}]\n  xfs_check: {command: xfs_info, mount_point: /, expected_output: crc=0}\n"
            .to_owned(),
    ];
    place.write("own/scenarios/mine.yaml", &text.concat());
    place.run("--config own run --lab -p vsphere --results results -t mine -j 3").exits(1).says("hold nothing");
    let said = |cell: &str| place.results().cell(&format!("vsphere/{cell}"))["problem"].to_string();
    for cell in ["wrong_key", "no_key"] {
        assert!(said(cell).contains("the migration failed at ImageConversion"), "{}", said(cell));
    }
    assert!(said("newer_xfs").contains("crc"), "{}", said("newer_xfs"));
    place.results().are_whole_and_tell_no_secret();
    let told = "cpu/features/vmx";
    place
        .run("run --lab -p vsphere -s nested_virtualization_off --lab-mtv-version 2.12 --defect cpu-feature-off --results results")
        .exits(1)
        .says(told);
}

#[test]
fn a_configuration_of_the_suite_is_imported_and_runs() {
    let place = Place::new();
    place.write(
        "config.py",
        "import uuid\nglobal config\n\ntests_params: dict = {\n    \"mine_cold\": {\n        \"virtual_machines\": [\n            {\"name\": \
         \"mtv-tests-rhel8\", \"source_vm_power\": \"on\", \"guest_agent\": True},\n        ],\n        \"warm_migration\": False,\n    },\n}\n",
    );
    std::fs::create_dir_all(place.path("own/scenarios")).unwrap();
    place.run("scenario import config.py --out own/scenarios/suite.yaml").exits(0);
    place.run("--config own run --lab -p vsphere -s mine_cold --results results").exits(0).says("1 passed");
    place.write(
        "odd.py",
        "tests_params = {\"a\": {\"virtual_machines\": [{\"name\": \"x\"}], \"vm_target_namespace\": f\"n-{uuid}\"}}\n",
    );
    place.run("scenario import odd.py").exits(2).says("odd.py:1: `a.vm_target_namespace`: no literal, left out");
}

#[test]
fn what_jira_tells_closed_is_known_no_more_and_a_jira_that_tells_nothing_changes_nothing() {
    let place = Place::new();
    let issues = ["MTV-101", "MTV-102", "MTV-103", "MTV-104", "MTV-105", "a place in pkg/controller"];
    let scenario = |(n, id): (usize, &&str)| {
        let vms = "virtual_machines: [{name: mtv-tests-rhel8}]";
        format!("issue{}:\n  tags: [mine]\n  {vms}\n  known_issues: [{{id: {id}, summary: broken}}]\n", n + 1)
    };
    let text: Vec<String> = issues.iter().enumerate().map(scenario).collect();
    place.write("own/scenarios/mine.yaml", &text.concat());
    let list =
        |more: &str| place.run(&format!("--config own list --lab -p vsphere -t mine --output wide {more}")).exits(0);
    let lines = |out: &str, n: usize| out.lines().find(|line| line.contains(&format!("issue{n} "))).unwrap().to_owned();
    // MTV-103 is fixed in 2.11.4 and 2.12.9.
    let told = list("--lab-mtv-version 2.11.5");
    let told = told.says("MTV-101 Closed, known no more; MTV-102 In Progress; MTV-103 Closed, fixed in 2.11.4, 2.12.9");
    let told = told.says("MTV-104 Closed as Won't Do; MTV-105 not told (HTTP 404 Not Found), as its scenario says");
    for (n, runs) in [(1, true), (2, false), (3, true), (4, false), (5, false), (6, false)] {
        let line = lines(&told.out, n);
        assert_eq!(line.contains("known issue"), !runs, "{n}: {line}");
    }
    let older = lines(&list("--lab-mtv-version 2.12.5").out, 3);
    assert!(older.contains("known issue MTV-103: broken (fixed in 2.12.9"), "{older}");
    for (set, why) in [("jira_token=wrong", "HTTP 401"), ("jira_url=http://127.0.0.1:9", "known issues are as the")] {
        let told = list(&format!("--set {set}")).says("tells nothing").says(why);
        assert!((1..=6).all(|n| lines(&told.out, n).contains("known issue")), "{}", told.out);
    }
    let run = "--config own run --lab -p vsphere --results results -s issue1 -s issue2";
    place.run(run).exits(0).says("1 passed, 1 skipped");
    assert!(place.results().text("events.jsonl").contains("MTV-101 Closed, known no more"));
    place.results().are_whole_and_tell_no_secret();
}

#[test]
fn mtv_inspects_a_vm_by_itself_and_what_it_leaves_or_does_not_tell_is_red() {
    let place = Place::new();
    let lab = "run --lab -p vsphere --lab-mtv-version 2.12 --results results";
    place.run(&format!("{lab} -t deep_inspection -j 4")).exits(0).says("4 passed").says("hold nothing");
    let told = place.results().text("events.jsonl");
    assert!(told.contains("inspected: Red Hat Enterprise Linux 8"), "the result is told");
    assert!(told.contains("its pod and its snapshot are gone"), "so is the end of a canceled one");
    place.results().are_whole_and_tell_no_secret();
    // A refusal that is not expected, and one that does not come.
    let own = |name: &str, steps: &str| {
        format!("{name}:\n  tags: [mine]\n  virtual_machines: [{{name: mtv-tests-rhel8}}]\n  steps: [{steps}]\n")
    };
    let steps =
        [own("refused", "inspect: {vddk: false}"), own("taken", "inspect: {condition: VDDKImageNotSet, timeout: 5s}")];
    place.write("own/scenarios/mine.yaml", &steps.concat());
    place.run(&format!("--config own {lab} -t mine")).exits(1).says("2 failed").says("hold nothing");
    let said = |cell: &str| place.results().cell(&format!("vsphere/{cell}"))["problem"].to_string();
    assert!(said("refused").contains("VDDKImageNotSet: The `vddkImage` field is required"), "{}", said("refused"));
    assert!(said("taken").contains("did not end within 5s"), "{}", said("taken"));
    let older = place.run(&format!("{lab} -s test_standalone_di_vsphere").replace("2.12", "2.11")).exits(5);
    older.says("needs MTV 2.12");
}

#[test]
fn a_plan_outlives_an_upgrade_by_the_users_command_and_a_command_that_brings_nothing_is_told() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    // As an operator's update shows: another version of its ClusterServiceVersion.
    let csv = "apis/operators.coreos.com/v1alpha1/namespaces/openshift-mtv/clusterserviceversions/mtv-operator.v2.11.0";
    let script = format!(
        "#!/bin/sh\necho from $MTV_FROM to $MTV_VERSION\n[ -z \"$MTV_VERSION\" ] && echo nothing to do && exit 3\n\
         curl -sSk -X PATCH -H 'content-type: application/merge-patch+json' -H 'authorization: Bearer {}' \
         -d '{{\"spec\": {{\"version\": \"2.11.3\"}}}}' {}/{csv}\n",
        lab.token(),
        lab.url
    );
    let script = place.write("upgrade.sh", &script);
    let run = |more: &str| {
        let set = format!("--set upgrade_command=[sh,{}] {more}", script.display());
        let args = format!("{set} run --results results --allow-disruptive -s test_upgrade_cold_migration {RUN}");
        let command = &mut lab.command(&place, &args);
        Running::start(command).end()
    };
    run("").exits(3).says("ended with exit status: 3; its last words: from 2.11.0 to ").says("nothing to do");
    run("--set upgrade_to=2.11.3").exits(0).says("1 passed");
    assert!(place.results().text("events.jsonl").contains("MTV 2.11.0 became 2.11.3"));
    let log = place.results().cell("vsphere/test_upgrade_cold_migration")["artifacts"].to_string();
    assert!(log.contains("upgrade.log"), "{log}");
    let unset = Running::start(&mut lab.command(&place, "run --results results -s test_upgrade_cold_migration")).end();
    unset.exits(5).says("`upgrade_command` is not set");
    lab.ends_clean();
}

#[test]
fn must_gather_runs_for_a_cell_that_did_not_pass_and_its_archive_is_an_artifact_and_its_pod_is_gone() {
    let place = Place::new();
    let image = "--set must_gather_image=quay.io/kubev2v/forklift-must-gather:latest";
    let cells = "-p ovirt -s test_sanity_cold_mtv_migration -s test_cold_remote_ocp";
    let run = |more: &str| place.run(&format!("run --lab {cells} --results results {image} {more}"));
    let there = "--set must_gather_namespace=openshift-mtv --set must_gather_service_account=default";
    let red = run(&format!("{there} --defect wrong-cpu --keep always")).exits(1).says("2 failed");
    let red = red.says("forklift-must-gather:latest runs as Pod openshift-mtv/mm-").says("`must_gather_cells` is 1");
    red.says("must-gather: must-gather.tar.gz is among the artifacts");
    let results = place.results();
    let files = |name: &str| {
        let told = ["sanity_cold_mtv_migration", "cold_remote_ocp"]
            .map(|cell| results.cell(&format!("ovirt/test_{cell}"))["artifacts"].as_array().unwrap().clone());
        let paths = told.iter().flatten().map(|path| path.as_str().unwrap().to_owned());
        paths.filter(|path| path.ends_with(name)).collect::<Vec<_>>()
    };
    let [archive] = files("/must-gather.tar.gz").try_into().unwrap();
    let listed = std::process::Command::new("tar").arg("xzOf").arg(results.dir.join(archive)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "quay.io/kubev2v/forklift-must-gather:latest\n", "{listed:?}");
    let [log] = files("/must-gather.log").try_into().unwrap();
    assert!(std::fs::read_to_string(results.dir.join(log)).unwrap().contains("Targeted gathering for Plan: "));
    let open = results.text("ledger.jsonl");
    assert!(open.contains("\"Pod\"") && !open.contains("not in the ledger"), "the Pod was written down");
    // What is wrong with it is a note, and no verdict.
    let nowhere = run("--set must_gather_namespace=nowhere --defect wrong-cpu").exits(1);
    nowhere.says("must-gather: failed to create Pod nowhere/mm-").says("hold nothing that this run made");
    let green = run(there).exits(0);
    assert!(!green.out.contains("must-gather:"), "{}", green.out);
}

#[test]
fn a_copy_offload_cell_that_did_not_pass_has_the_logs_of_populators_that_are_gone() {
    let place = Place::new();
    let run = "run --lab -p vsphere -s test_copyoffload_thin_migration --results results --defect offload-fell-back";
    place.run(run).exits(1).says("1 failed");
    let cell = place.results().cell("vsphere/test_copyoffload_thin_migration")["artifacts"].to_string();
    assert!(cell.contains("/populate/populate/logs/current.log"), "{cell}");
    assert!(cell.contains("/vspherexcopyvolumepopulators/"), "{cell}");
}
