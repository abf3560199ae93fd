//! A hook's playbook, as far as it decides over success: tasks that fail on purpose.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::Value;

use super::{Ended, KubeletOptions};

/// Simulated time that a playbook runs.
const TIME: Duration = Duration::from_secs(150);
const PLAYBOOK: &str = "playbook.yml";

pub async fn run(options: &KubeletOptions, namespace: &str, config_map: &str) -> Result<Ended, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(options.client.clone(), namespace);
    let found = maps.get_opt(config_map).await?;
    let playbook = found.and_then(|map| map.data?.remove(PLAYBOOK)).unwrap_or_default();
    options.clock.sleep(TIME).await;
    Ok(match failing_task(&playbook) {
        Some(task) => Ended::Badly(format!("TASK [{task}] failed")),
        None => Ended::Well,
    })
}

/// The first task of a playbook that ends it: a `fail`, or an `assert` of something that is plainly
/// false. A condition (`when`) that is plainly false keeps a task from running.
pub fn failing_task(playbook: &str) -> Option<String> {
    let Ok(plays) = serde_saphyr::from_str::<Value>(playbook) else {
        // What no Ansible could read fails, too; an empty playbook does nothing.
        return (!playbook.trim().is_empty()).then(|| "the playbook is not YAML".to_owned());
    };
    let plays = plays.as_array()?;
    let sections = ["pre_tasks", "tasks", "post_tasks"];
    let tasks = plays.iter().flat_map(|play| sections.iter().filter_map(|name| play[*name].as_array())).flatten();
    tasks.filter(|task| runs(task)).find(|task| ends(task)).map(|task| {
        let name = task["name"].as_str().unwrap_or("fail");
        name.to_owned()
    })
}

fn is_false(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::String(text) => {
            matches!(text.trim().to_lowercase().as_str(), "false" | "no" | "0" | "1 == 0" | "not true")
        }
        _ => false,
    }
}

fn any(value: &Value, test: fn(&Value) -> bool) -> bool {
    value.as_array().map_or_else(|| test(value), |all| all.iter().any(test))
}

fn runs(task: &Value) -> bool {
    task.get("when").is_none_or(|when| !any(when, is_false))
}

fn ends(task: &Value) -> bool {
    let module = |name: &str| task.get(name).or_else(|| task.get(format!("ansible.builtin.{name}")));
    if task.get("ignore_errors").is_some_and(|ignored| !is_false(ignored)) {
        return false;
    }
    module("fail").is_some()
        || module("assert").and_then(|assert| assert.get("that")).is_some_and(|that| any(that, is_false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_ends_at_a_fail_task_or_a_false_assert_that_runs() {
        let of = |tasks: &str| failing_task(&format!("- hosts: localhost\n  tasks:\n{tasks}"));
        assert_eq!(of("    - name: stop\n      ansible.builtin.fail:\n        msg: x\n").as_deref(), Some("stop"));
        assert_eq!(of("    - fail: msg=x\n").as_deref(), Some("fail"));
        assert_eq!(of("    - name: a\n      assert:\n        that: [true, false]\n").as_deref(), Some("a"));
        assert_eq!(of("    - name: a\n      assert:\n        that: [true]\n"), None);
        assert_eq!(of("    - name: stop\n      fail:\n      when: false\n"), None);
        assert_eq!(of("    - name: stop\n      fail:\n      ignore_errors: true\n"), None);
        assert_eq!(of("    - name: this does not fail\n      debug:\n        msg: fail\n"), None);
        assert_eq!(failing_task(""), None);
        assert!(failing_task("- hosts: [").is_some());
    }
}
