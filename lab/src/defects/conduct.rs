//! Ways in which MTV treats a Plan wrongly: how it is canceled, cut over, retried, archived, or goes on after a fault. The
//! oracle for stories, as the other defects are for checks.
//!
//! Each is one place of the lab's MTV that goes another way, and names the shipped scenarios that must turn red by it.

/// One wrong way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conduct {
    /// Nobody can cancel.
    IgnoresCancel,
    /// What a canceled VM left stays, on the target and on the source.
    KeepsAfterCancel,
    /// A Plan that is deleted in mid-run leaves a VM all the same.
    OutlivesPlan,
    /// A warm migration is never cut over.
    IgnoresCutover,
    /// A VM that has arrived is migrated again.
    RunsArrivedAgain,
    /// As many VMs at once as there are.
    IgnoresLimit,
    /// One Plan migrates after the other.
    OnePlanAtATime,
    /// An archived Plan keeps its pods.
    KeepsArchivedPods,
    /// A failure stands at another step, in other words.
    FailsElsewhere,
    /// A conversion that is resumed gets fresh disks.
    CopiesAnewOnResume,
    /// The controller does not go on after its pod was killed.
    ControllerStaysDown,
    /// A pod that is gone fails its VM, whichever it was.
    MakesNoPodAgain,
    /// A virt-v2v pod that is gone is made again, also before 2.12.
    MakesEachPodAgain,
    /// A name that is taken is no obstacle.
    OverwritesNames,
    /// A claim that a quota refuses fails the VM, also where CDI would try again.
    GivesUpOnClaims,
    /// A source that does not answer fails the VM at once.
    GivesUpOnSource,
    /// A source that refuses the login is waited for, for ever.
    WaitsForever,
    /// A disk that came while the VM was copied is left out.
    ForgetsDisks,
    /// As many populators of one host at once as there are disks.
    IgnoresPopulatorLimit,
}

/// Every one with its name on the command line, and the shipped scenarios that find it.
pub const CONDUCTS: &[(Conduct, &str, &[&str])] = &[
    (
        Conduct::IgnoresCancel,
        "ignores-cancel",
        &[
            "lifecycle_cancel_in_precopy",
            "lifecycle_cancel_in_transfer",
            "lifecycle_cancel_one_of_two",
            "lifecycle_retry_after_cancel",
        ],
    ),
    (
        Conduct::KeepsAfterCancel,
        "keeps-after-cancel",
        &[
            "lifecycle_cancel_in_precopy",
            "lifecycle_cancel_in_transfer",
            "lifecycle_cancel_one_plan_of_two",
            "lifecycle_delete_migration_in_mid_run",
        ],
    ),
    (Conduct::OutlivesPlan, "outlives-plan", &["lifecycle_delete_plan_in_mid_run"]),
    (
        Conduct::IgnoresCutover,
        "ignores-cutover",
        &[
            "lifecycle_cutover_in_the_past",
            "lifecycle_cutover_moved",
            "lifecycle_cutover_before_the_first_precopy",
            "lifecycle_many_precopies",
        ],
    ),
    (Conduct::RunsArrivedAgain, "runs-arrived-again", &["lifecycle_rerun_of_a_succeeded_plan"]),
    (
        Conduct::IgnoresLimit,
        "ignores-limit",
        &[
            "in_flight_limit_of_one",
            "in_flight_limit_over_two_plans",
            "in_flight_limit_of_two",
            "in_flight_limit_of_twenty",
        ],
    ),
    (Conduct::OnePlanAtATime, "one-plan-at-a-time", &["lifecycle_two_plans_at_once"]),
    (Conduct::KeepsArchivedPods, "keeps-archived-pods", &["lifecycle_archive"]),
    (
        Conduct::FailsElsewhere,
        "fails-elsewhere",
        &[
            "lifecycle_failing_pre_hook",
            "lifecycle_retry_after_failure",
            "lifecycle_one_bad_vm",
            "lifecycle_datastore_full",
            "lifecycle_datastore_full_between_precopies",
            "lifecycle_quota_exceeded_by_populators",
        ],
    ),
    (Conduct::CopiesAnewOnResume, "copies-anew-on-resume", &["lifecycle_resume_conversion"]),
    (Conduct::ControllerStaysDown, "controller-stays-down", &["lifecycle_controller_killed"]),
    (
        Conduct::MakesNoPodAgain,
        "makes-no-pod-again",
        &[
            "lifecycle_virt_v2v_killed",
            "lifecycle_importer_killed",
            "lifecycle_populator_killed",
            "lifecycle_node_drained",
        ],
    ),
    (Conduct::MakesEachPodAgain, "makes-each-pod-again", &["lifecycle_virt_v2v_killed_before_2_12"]),
    (Conduct::OverwritesNames, "overwrites-names", &["lifecycle_target_name_taken"]),
    (Conduct::GivesUpOnClaims, "gives-up-on-claims", &["lifecycle_quota_exceeded"]),
    (Conduct::GivesUpOnSource, "gives-up-on-source", &["lifecycle_source_cut_for_a_minute"]),
    (Conduct::WaitsForever, "waits-forever", &["lifecycle_credentials_expired"]),
    (Conduct::ForgetsDisks, "forgets-disks", &["lifecycle_disk_added_between_precopies"]),
    (
        Conduct::IgnoresPopulatorLimit,
        "ignores-populator-limit",
        &["test_copyoffload_populator_throttling_migration", "test_copyoffload_vm_populator_throttling_migration"],
    ),
];
