//! How long a scenario is expected to take: for the order of work and for shards of equal weight.
//!
//! Only what the scenario itself says is used, because every shard must come to the same number before
//! it has asked anybody anything. The minutes are those of the shipped scenarios; only their proportion
//! matters.

use std::time::Duration;

use crate::config::Scenario;
use crate::config::steps::Step;

/// Clone, maps, Plan, one small disk, checks, teardown.
const ONE_COLD_VM: u64 = 13;
const FURTHER_VM: u64 = 8;
const ADDED_DISK: u64 = 3;
/// Precopies, and the wait for the cutover.
const WARM: u64 = 10;
const GUEST_AGENT: u64 = 2;
const STATIC_IPS: u64 = 5;
const HOOK: u64 = 2;
const BOOT: u64 = 3;

/// `expected_duration`, else an estimate.
pub fn expected(scenario: &Scenario) -> Duration {
    scenario.expected_duration.unwrap_or_else(|| {
        let vms = &scenario.virtual_machines;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let when = |holds: bool, minutes: u64| if holds { minutes } else { 0 };
        let minutes = ONE_COLD_VM
            + FURTHER_VM * count(vms.len().saturating_sub(1))
            + ADDED_DISK * count(vms.iter().map(|vm| vm.add_disks.len()).sum())
            + when(scenario.has_warm(), WARM)
            + when(vms.iter().any(|vm| vm.guest_agent), GUEST_AGENT)
            + when(scenario.preserve_static_ips, STATIC_IPS)
            + when(scenario.pre_hook.is_some(), HOOK)
            + when(scenario.post_hook.is_some(), HOOK)
            + when(scenario.steps.iter().flatten().any(|step| matches!(step, Step::Boot(_))), BOOT);
        Duration::from_secs(minutes * 60)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(json: serde_json::Value) -> Scenario {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_the_scenario_says_wins_and_more_work_is_expected_to_take_longer() {
        let minutes = |json| expected(&scenario(json)).as_secs() / 60;
        let vm = |n: usize| vec![serde_json::json!({"name": "a"}); n];
        assert_eq!(minutes(serde_json::json!({"virtual_machines": vm(1), "expected_duration": "7m"})), 7);
        let cold = minutes(serde_json::json!({"virtual_machines": vm(1)}));
        let warm = minutes(serde_json::json!({"virtual_machines": vm(1), "warm_migration": true}));
        let many = minutes(serde_json::json!({"virtual_machines": vm(5)}));
        let disks = serde_json::json!([{"name": "a", "add_disks": [{"size_gb": 1}, {"size_gb": 1}]}]);
        assert!(cold < warm && warm < many, "{cold} {warm} {many}");
        assert!(minutes(serde_json::json!({"virtual_machines": disks})) > cold);
    }
}
