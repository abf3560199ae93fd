//! Cells of native kinds that no path tells: `1/1` of a pod, a Job's duration, a Service's ports. By the
//! names that [`super::builtin`] writes after `=`. As Kubernetes' own printers show them.

use serde_json::{Value, json};

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";
const UNKNOWN: &str = "<unknown>";

/// `97s`, `5m3s`, `3h`, `2d4h`: how Kubernetes shows a span, coarser the longer it is.
pub(super) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: &str, small: i64, below: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{below}"),
    };
    match seconds.max(0) {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// How long ago; `<unknown>` for what is no time.
pub(super) fn age(timestamp: &str) -> String {
    let Ok(then) = timestamp.parse::<jiff::Timestamp>() else { return UNKNOWN.to_owned() };
    human(jiff::Timestamp::now().as_second() - then.as_second())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

fn joined<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.filter(|item| !item.is_empty()).collect::<Vec<_>>().join(",")
}

fn labels(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", text(v)));
    or(pairs.collect::<Vec<_>>().join(","), NONE)
}

fn selector(node: &Value) -> String {
    let mut parts: Vec<String> =
        node["matchLabels"].as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", text(v))).collect();
    for rule in list(&node["matchExpressions"]) {
        let (key, values) = (text(&rule["key"]), joined(list(&rule["values"]).map(text)));
        parts.push(match text(&rule["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or(parts.join(","), NONE)
}

fn modes(modes: &Value) -> String {
    joined(list(modes).map(|mode| match text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }))
}

fn seconds_between(from: &Value, to: &Value) -> Option<i64> {
    let from: jiff::Timestamp = text(from).parse().ok()?;
    let to = text(to).parse().unwrap_or_else(|_| jiff::Timestamp::now());
    Some(to.as_second() - from.as_second())
}

/// What a pod is doing, as its containers tell it.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut reason = or(text(&status["reason"]).to_owned(), text(&status["phase"]));
    let total = list(&pod["spec"]["initContainers"]).count();
    let mut starting = false;
    for (at, container) in list(&status["initContainerStatuses"]).enumerate() {
        let state = &container["state"];
        if state["terminated"].is_object() && count(&state["terminated"]["exitCode"]) == 0 {
            continue;
        }
        starting = true;
        let why = match (text(&state["terminated"]["reason"]), text(&state["waiting"]["reason"])) {
            ("", "") if state["terminated"].is_object() => format!("ExitCode:{}", state["terminated"]["exitCode"]),
            ("", "" | "PodInitializing") => format!("{at}/{total}"),
            ("", waiting) => waiting.to_owned(),
            (ended, _) => ended.to_owned(),
        };
        reason = format!("Init:{why}");
        break;
    }
    if !starting {
        let mut running = false;
        for container in list(&status["containerStatuses"]) {
            let state = &container["state"];
            let (waiting, ended) = (text(&state["waiting"]["reason"]), &state["terminated"]);
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if !text(&ended["reason"]).is_empty() {
                reason = text(&ended["reason"]).to_owned();
            } else if ended.is_object() {
                reason = format!("ExitCode:{}", ended["exitCode"]);
            } else if container["ready"] == json!(true) {
                running = true;
            }
        }
        if reason == "Completed" && running {
            reason = "Running".to_owned();
        }
    }
    match (pod["metadata"]["deletionTimestamp"].is_string(), text(&status["reason"])) {
        (true, "NodeLost") => "Unknown".to_owned(),
        (true, _) if !matches!(text(&status["phase"]), "Succeeded" | "Failed") => "Terminating".to_owned(),
        _ => reason,
    }
}

fn pod_ready(pod: &Value) -> String {
    let ready = list(&pod["status"]["containerStatuses"]).filter(|c| c["ready"] == json!(true)).count();
    format!("{ready}/{}", list(&pod["spec"]["containers"]).count())
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| list(&job["status"]["conditions"]).any(|c| c["type"] == kind && c["status"] == "True");
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn job_completions(job: &Value) -> String {
    let done = count(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), job["spec"]["parallelism"].as_i64()) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn job_duration(job: &Value) -> String {
    let status = &job["status"];
    let end = match &status["completionTime"] {
        Value::Null => {
            let failed = list(&status["conditions"]).find(|c| c["type"] == "Failed" && c["status"] == "True");
            failed.map_or(&Value::Null, |c| &c["lastTransitionTime"])
        }
        end => end,
    };
    seconds_between(&status["startTime"], end).map(human).unwrap_or_default()
}

fn service_ports(service: &Value) -> String {
    let ports = list(&service["spec"]["ports"]).map(|port| match port["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{}", port["port"], text(&port["protocol"])),
        _ => format!("{}/{}", port["port"], text(&port["protocol"])),
    });
    or(ports.collect::<Vec<_>>().join(","), NONE)
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let balancer = list(&service["status"]["loadBalancer"]["ingress"]);
    let balanced = joined(balancer.map(|i| if i["ip"].is_string() { text(&i["ip"]) } else { text(&i["hostname"]) }));
    let own = joined(list(&spec["externalIPs"]).map(text));
    match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        "LoadBalancer" => or(joined([balanced.as_str(), own.as_str()].into_iter()), "<pending>"),
        _ => or(own, NONE),
    }
}

fn node_status(node: &Value) -> String {
    let ready = list(&node["status"]["conditions"]).find(|c| c["type"] == "Ready");
    let state = match ready.map(|c| text(&c["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == json!(true) { format!("{state},SchedulingDisabled") } else { state.to_owned() }
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<&str> = labels.filter_map(|(name, _)| name.strip_prefix("node-role.kubernetes.io/")).collect();
    roles.sort_unstable();
    or(roles.join(","), NONE)
}

fn node_address(node: &Value, kind: &str) -> String {
    let found = list(&node["status"]["addresses"]).find(|a| a["type"] == kind);
    found.map_or(NONE, |a| text(&a["address"])).to_owned()
}

fn endpoint_addresses(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(&object["subsets"]) {
        for port in list(&subset["ports"]) {
            all.extend(list(&subset["addresses"]).map(|a| format!("{}:{}", text(&a["ip"]), port["port"])));
        }
    }
    match all.len() {
        0 => NONE.to_owned(),
        n if n > 3 => format!("{} + {} more...", all[..3].join(","), n - 3),
        _ => all.join(","),
    }
}

fn subjects(binding: &Value, kind: &str) -> String {
    let of = list(&binding["subjects"]).filter(|s| s["kind"] == kind);
    of.map(|s| match kind {
        "ServiceAccount" => format!("{}/{}", text(&s["namespace"]), text(&s["name"])),
        _ => text(&s["name"]).to_owned(),
    })
    .collect::<Vec<_>>()
    .join(", ")
}

/// Used and allowed amounts of the resources whose names begin so, or do not.
fn quota(object: &Value, limits: bool) -> String {
    let hard = object["status"]["hard"].as_object().or_else(|| object["spec"]["hard"].as_object());
    let mut all: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, most)| {
            format!("{name}: {}/{}", or(text(&object["status"]["used"][name]).to_owned(), "0"), text(most))
        })
        .collect();
    all.sort();
    all.join(", ")
}

/// A whole number, or a share with `%`.
fn amount(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The cell, by its name in the table of resources; `None` for a name that nobody knows.
pub(super) fn computed(name: &str, object: &Value) -> Option<Value> {
    let (spec, status, meta) = (&object["spec"], &object["status"], &object["metadata"]);
    let template =
        if spec["jobTemplate"].is_object() { &spec["jobTemplate"]["spec"]["template"] } else { &spec["template"] };
    let containers = |field: &str| json!(joined(list(&template["spec"]["containers"]).map(|c| text(&c[field]))));
    Some(match name {
        "pod-ready" => json!(pod_ready(object)),
        "pod-status" => json!(pod_status(object)),
        "pod-restarts" => {
            json!(list(&status["containerStatuses"]).map(|c| count(&c["restartCount"])).sum::<i64>().to_string())
        }
        "workload-ready" => {
            json!(format!("{}/{}", count(&status["readyReplicas"]), spec["replicas"].as_i64().unwrap_or(1)))
        }
        "containers" => containers("name"),
        "images" => containers("image"),
        "selector" => json!(selector(&spec["selector"])),
        "labels-selector" => json!(labels(&spec["selector"])),
        "pod-selector" => json!(selector(&spec["podSelector"])),
        "node-selector" => json!(labels(&template["spec"]["nodeSelector"])),
        "job-status" => json!(job_status(object)),
        "job-completions" => json!(job_completions(object)),
        "job-duration" => json!(job_duration(object)),
        "cron-timezone" => json!(or(text(&spec["timeZone"]).to_owned(), NONE)),
        "cron-suspend" => json!(if spec["suspend"] == json!(true) { "True" } else { "False" }),
        "cron-active" => json!(list(&status["active"]).count()),
        "cron-last" => json!(status["lastScheduleTime"].as_str().map_or_else(|| NONE.to_owned(), age)),
        "service-ip" => json!(or(text(&spec["clusterIP"]).to_owned(), NONE)),
        "service-external" => json!(external_ip(object)),
        "service-ports" => json!(service_ports(object)),
        "ingress-class" => json!(or(text(&spec["ingressClassName"]).to_owned(), NONE)),
        "ingress-hosts" => json!(or(joined(list(&spec["rules"]).map(|r| text(&r["host"]))), "*")),
        "ingress-ports" => json!(if list(&spec["tls"]).next().is_some() { "80, 443" } else { "80" }),
        "ingress-address" => json!(joined(list(&status["loadBalancer"]["ingress"]).map(|i| text(&i["ip"])))),
        "node-status" => json!(node_status(object)),
        "node-roles" => json!(node_roles(object)),
        "node-internal" => json!(node_address(object, "InternalIP")),
        "node-external" => json!(node_address(object, "ExternalIP")),
        "endpoints" => json!(endpoint_addresses(object)),
        "slice-ports" => {
            let ports = list(&object["ports"]).map(|p| p["port"].to_string());
            json!(or(ports.collect::<Vec<_>>().join(","), UNSET))
        }
        "slice-endpoints" => {
            json!(or(joined(list(&object["endpoints"]).flat_map(|e| list(&e["addresses"])).map(text)), UNSET))
        }
        "claim-modes" => json!(modes(&status["accessModes"])),
        "volume-modes" => json!(modes(&spec["accessModes"])),
        "volume-claim" => match spec["claimRef"].is_object() {
            true => json!(format!("{}/{}", text(&spec["claimRef"]["namespace"]), text(&spec["claimRef"]["name"]))),
            false => json!(""),
        },
        "attributes-class" => json!(or(text(&spec["volumeAttributesClassName"]).to_owned(), UNSET)),
        "volume-mode" => json!(or(text(&spec["volumeMode"]).to_owned(), UNSET)),
        "class-name" => {
            let default = &meta["annotations"]["storageclass.kubernetes.io/is-default-class"];
            let end = if default == "true" { " (default)" } else { "" };
            json!(format!("{}{end}", text(&meta["name"])))
        }
        "class-expands" => json!(object["allowVolumeExpansion"] == json!(true)),
        "webhooks" => json!(list(&object["webhooks"]).count()),
        "role" => json!(format!("{}/{}", text(&object["roleRef"]["kind"]), text(&object["roleRef"]["name"]))),
        "users" => json!(subjects(object, "User")),
        "groups" => json!(subjects(object, "Group")),
        "accounts" => json!(subjects(object, "ServiceAccount")),
        "quota-requests" => json!(quota(object, false)),
        "quota-limits" => json!(quota(object, true)),
        "min-available" => json!(amount(&spec["minAvailable"])),
        "max-unavailable" => json!(amount(&spec["maxUnavailable"])),
        "event-seen" => {
            let last = ["lastTimestamp", "eventTime", "firstTimestamp"].into_iter().find_map(|f| object[f].as_str());
            json!(last.map_or_else(|| UNKNOWN.to_owned(), age))
        }
        "event-object" => {
            let about = &object["involvedObject"];
            json!(format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"])))
        }
        "event-source" => {
            json!(or(text(&object["source"]["component"]).to_owned(), text(&object["reportingComponent"])))
        }
        "event-count" => json!(object["count"].as_i64().unwrap_or(1)),
        "hpa-reference" => {
            json!(format!("{}/{}", text(&spec["scaleTargetRef"]["kind"]), text(&spec["scaleTargetRef"]["name"])))
        }
        "service-of-api" => match spec["service"].is_object() {
            true => json!(format!("{}/{}", text(&spec["service"]["namespace"]), text(&spec["service"]["name"]))),
            false => json!("Local"),
        },
        "available" => {
            let condition = list(&status["conditions"]).find(|c| c["type"] == "Available");
            json!(condition.map_or("Unknown", |c| text(&c["status"])))
        }
        "controller" => {
            let owner = list(&meta["ownerReferences"]).find(|o| o["controller"] == json!(true));
            json!(owner.map_or_else(
                || NONE.to_owned(),
                |o| { format!("{}/{}", text(&o["kind"]).to_lowercase(), text(&o["name"])) }
            ))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_grow_coarser() {
        let shown: Vec<String> = [0, 119, 120, 303, 700, 10_800, 11_700, 90_000, 200_000, 800_000].map(human).into();
        assert_eq!(shown, ["0s", "119s", "2m", "5m3s", "11m", "3h", "3h15m", "25h", "2d7h", "9d"]);
    }

    #[test]
    fn a_pod_tells_what_its_containers_do() {
        let status = |phase: &str, state: Value, ready: bool| {
            let containers = json!([{"name": "c", "ready": ready, "restartCount": 2, "state": state}]);
            json!({"metadata": {}, "spec": {"containers": [{}]}, "status": {"phase": phase, "containerStatuses": containers}})
        };
        let running = status("Running", json!({"running": {}}), true);
        assert_eq!((pod_status(&running), pod_ready(&running)), ("Running".to_owned(), "1/1".to_owned()));
        let waiting = status("Pending", json!({"waiting": {"reason": "ImagePullBackOff"}}), false);
        assert_eq!(pod_status(&waiting), "ImagePullBackOff");
        let ended = status("Succeeded", json!({"terminated": {"reason": "Completed", "exitCode": 0}}), false);
        assert_eq!(pod_status(&ended), "Completed");
        let mut leaving = running;
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(pod_status(&leaving), "Terminating");
        let init = json!({"spec": {"initContainers": [{}, {}], "containers": [{}]},
            "status": {"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}});
        assert_eq!(pod_status(&init), "Init:0/2");
    }

    #[test]
    fn a_job_shows_how_far_it_is() {
        let job = json!({"spec": {"completions": 3}, "status": {"succeeded": 3, "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:00:07Z", "conditions": [{"type": "Complete", "status": "True"}]}});
        let cell = |name: &str| computed(name, &job).unwrap();
        assert_eq!([cell("job-status"), cell("job-completions"), cell("job-duration")], ["Complete", "3/3", "7s"]);
    }
}
