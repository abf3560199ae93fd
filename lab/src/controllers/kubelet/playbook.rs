//! A hook's playbook, as far as it decides over success: tasks that fail on purpose.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::{Value, json};

use super::{Ended, KubeletOptions};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;

/// Simulated time that a playbook runs.
const TIME: Duration = Duration::from_secs(150);
const PLAYBOOK: &str = "playbook.yml";

pub async fn run(options: &KubeletOptions, pod: &Pod, config_map: &str) -> Result<Ended, kube::Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(options.client.clone(), &namespace);
    let found = maps.get_opt(config_map).await?;
    let playbook = found.and_then(|map| map.data?.remove(PLAYBOOK)).unwrap_or_default();
    let ended = ended(&playbook);
    options.clock.sleep(takes(&playbook)).await;
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &namespace);
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: output(&playbook)}}});
    glance::patch(&pods, &pod.name_any(), &Patch::Merge(log)).await?;
    Ok(ended)
}

/// Simulated time. One that fails does not come to its end: with the second pod of its Job it takes as long as one that
/// goes well.
pub fn takes(playbook: &str) -> Duration {
    match ended(playbook) {
        Ended::Well => TIME,
        Ended::Badly(_) => TIME / 2,
    }
}

/// How its container ends.
pub fn ended(playbook: &str) -> Ended {
    match failing_task(playbook) {
        Some(task) => Ended::Badly(format!("TASK [{task}] failed")),
        None => Ended::Well,
    }
}

/// The first task of a playbook that ends it: a `fail`, or an `assert` of something that is plainly
/// false. A condition (`when`) that is plainly false keeps a task from running.
pub fn failing_task(playbook: &str) -> Option<String> {
    failure(playbook).map(|(task, _)| task)
}

/// What Ansible prints of it, in short.
pub fn output(playbook: &str) -> String {
    match failure(playbook) {
        Some((task, message)) => format!(
            "TASK [{task}] ***\nfatal: [localhost]: FAILED! => {{\"changed\": false, \"msg\": \"{message}\"}}\n\
             PLAY RECAP ***\nlocalhost : ok=0 changed=0 unreachable=0 failed=1\n"
        ),
        None => "PLAY RECAP ***\nlocalhost : ok=1 changed=0 unreachable=0 failed=0\n".to_owned(),
    }
}

/// The task that ends a playbook, and what it says.
fn failure(playbook: &str) -> Option<(String, String)> {
    let Ok(plays) = serde_saphyr::from_str::<Value>(playbook) else {
        // What no Ansible could read fails, too; an empty playbook does nothing.
        let unread = || ("load".to_owned(), "the playbook is not YAML".to_owned());
        return (!playbook.trim().is_empty()).then(unread);
    };
    let plays = plays.as_array()?;
    let sections = ["pre_tasks", "tasks", "post_tasks"];
    let tasks = plays.iter().flat_map(|play| sections.iter().filter_map(|name| play[*name].as_array())).flatten();
    tasks.filter(|task| runs(task)).find(|task| ends(task)).map(|task| {
        let own = ["fail", "ansible.builtin.fail"].iter().find_map(|module| task.get(*module));
        // `fail: msg=x` is the short form.
        let short = own.and_then(Value::as_str).map(|text| text.trim_start_matches("msg="));
        let message = own.and_then(|own| own.get("msg")).and_then(Value::as_str).or(short);
        (
            task["name"].as_str().unwrap_or("fail").to_owned(),
            message.unwrap_or("Failed as requested from task").to_owned(),
        )
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
        let printed = output("- tasks:\n    - name: stop\n      ansible.builtin.fail:\n        msg: on purpose\n");
        assert!(printed.contains("TASK [stop]") && printed.contains("\"msg\": \"on purpose\""), "{printed}");
        assert!(output("- tasks:\n    - fail: msg=x\n").contains("\"msg\": \"x\""));
    }
}
