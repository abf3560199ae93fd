//! Hooks that are jobs of the Ansible Automation Platform (`runAAPJob`, `pkg/controller/plan/hook.go`; `pkg/lib/aap`).

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use serde_json::{Value, json};

use super::Mtv;
use crate::api::forklift::{AapHook, Hook, Plan};
use crate::controllers::said;

/// Between two looks at a job.
const LOOK: Duration = Duration::from_secs(5);
/// Between two launches of one that failed.
const AGAIN: Duration = Duration::from_secs(3);
/// Where neither the hook nor the ForkliftController says how long, in seconds.
const LONGEST: i64 = 3600;

/// Whether there is a way to the platform: the hook's own, or the ForkliftController's.
pub(super) async fn is_set(mtv: &Mtv, aap: &AapHook) -> bool {
    has_own(aap) || cluster_way(mtv).await.is_some()
}

fn has_own(aap: &AapHook) -> bool {
    let secret = aap.token_secret.as_ref().and_then(|secret| secret.name.as_deref()).unwrap_or_default();
    !aap.url.trim().is_empty() && !secret.trim().is_empty()
}

async fn cluster_way(mtv: &Mtv) -> Option<(String, String)> {
    let settings = mtv.settings().await.ok()?;
    let key = |name: &str| Some(settings.get(name)?.as_str()?.trim().to_owned()).filter(|v| !v.is_empty());
    Some((key("aap_url")?, key("aap_token_secret_name")?))
}

/// What speaks against a hook (`validateAAP`, `pkg/controller/hook/validation.go`).
pub(super) fn refusal(hook: &Hook, aap: &AapHook, is_set: bool) -> Option<&'static str> {
    let local =
        !hook.spec.image.trim().is_empty() || hook.spec.playbook.as_deref().is_some_and(|p| !p.trim().is_empty());
    if local {
        return Some(
            "AAP hooks cannot be combined with local `spec.image` or `spec.playbook`; clear those fields or use a local hook instead.",
        );
    }
    if aap.job_template_id <= 0 {
        return Some("AAP hooks require jobTemplateId > 0.");
    }
    (!is_set).then_some(
        "AAP hooks require ForkliftController aap_url and aap_token_secret_name, or spec.aap.url and spec.aap.tokenSecret.name for per-hook connection.",
    )
}

/// Runs the job to its end; `Err`: what MTV writes on the step. Up to 2.12 it gives the error back to its queue as well, and
/// so never writes it: the job is launched anew at each look, for ever.
pub(super) async fn run(
    mtv: &Mtv,
    plan: &Plan,
    (vm_id, vm_name, step): (&str, &str, &str),
    aap: &AapHook,
    deadline: i64,
) -> Result<(), String> {
    let namespace = plan.namespace().unwrap_or_default();
    let (url, secret, at) = if has_own(aap) {
        let name = aap.token_secret.as_ref().and_then(|secret| secret.name.clone()).unwrap_or_default();
        (aap.url.trim().to_owned(), name, namespace.as_str())
    } else {
        let way = cluster_way(mtv).await;
        let (url, secret) = way.ok_or(
            "AAP is not configured: set ForkliftController aap_url and aap_token_secret_name, or spec.aap.url and spec.aap.tokenSecret",
        )?;
        (url, secret, mtv.namespace.as_str())
    };
    let way = Way { url: url.trim_end_matches('/').to_owned(), secret, namespace: at.to_owned() };
    loop {
        match once(mtv, plan, (vm_id, vm_name, step), aap, deadline, &way).await {
            Err(_) if !mtv.version.at_least(13) => mtv.clock.sleep(AGAIN).await,
            ended => return ended,
        }
    }
}

/// The way to the platform: its URL, and the Secret with the token.
struct Way {
    url: String,
    secret: String,
    namespace: String,
}

/// Launches the job once, and waits for its end.
async fn once(
    mtv: &Mtv,
    plan: &Plan,
    (vm_id, vm_name, step): (&str, &str, &str),
    aap: &AapHook,
    deadline: i64,
    way: &Way,
) -> Result<(), String> {
    let namespace = plan.namespace().unwrap_or_default();
    let token = token(mtv, &way.namespace, &way.secret).await?;
    let platform = Platform { http: client()?, url: way.url.clone(), token };
    let prefix = platform.prefix().await;
    let asked = json!({"extra_vars": {"vm_id": vm_id, "vm_name": vm_name, "vm_source_id": vm_id,
        "plan_name": plan.name_any(), "plan_namespace": namespace, "migration_phase": step}});
    let launch = format!("{prefix}/job_templates/{}/launch/", aap.job_template_id);
    let job = platform.ask(&launch, Some(&asked)).await?["id"].as_i64().unwrap_or_default();
    let limit = [aap.timeout.unwrap_or_default(), deadline, LONGEST].into_iter().find(|seconds| *seconds != 0);
    // Below zero: for ever.
    let limit = limit.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let mut waited = Duration::ZERO;
    loop {
        let told = platform.ask(&format!("{prefix}/jobs/{job}/"), None).await?;
        match told["status"].as_str().unwrap_or_default() {
            "successful" => return Ok(()),
            ended @ ("failed" | "error" | "canceled") => {
                return Err(format!("AAP job {job} failed with status: {ended}"));
            }
            _ if limit.is_some_and(|limit| waited >= limit) => {
                let seconds = limit.unwrap_or_default().as_secs();
                return Err(format!("AAP job {job} timed out after {seconds}s"));
            }
            _ => {}
        }
        mtv.clock.sleep(LOOK).await;
        waited += LOOK;
    }
}

async fn token(mtv: &Mtv, namespace: &str, name: &str) -> Result<String, String> {
    let api: Api<Secret> = Api::namespaced(mtv.client.clone(), namespace);
    let secret = api.get(name).await.map_err(said::by);
    let secret = secret.map_err(|why| format!("failed to get secret {namespace}/{name}: {why}"))?;
    let data = secret.data.unwrap_or_default();
    let Some(token) = data.get("token") else {
        return Err(format!("secret {namespace}/{name} does not contain 'token' key"));
    };
    let text = String::from_utf8_lossy(&token.0).into_owned();
    if text.trim().is_empty() {
        return Err(format!("secret {namespace}/{name} contains an empty 'token' value"));
    }
    Ok(text)
}

fn client() -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder().no_proxy().user_agent(crate::faults::OWN_AGENT);
    builder.timeout(Duration::from_secs(30)).build().map_err(|e| e.to_string())
}

struct Platform {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Platform {
    /// Where its API is: as its root says, else where a newer one has it.
    async fn prefix(&self) -> String {
        let root = self.ask("/api/", None).await.ok();
        let told = root.and_then(|root| Some(root["current_version"].as_str()?.trim_end_matches('/').to_owned()));
        told.filter(|path| !path.is_empty()).unwrap_or_else(|| "/api/controller/v2".to_owned())
    }

    /// A POST where there is a body.
    async fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.url);
        let request = match body {
            Some(body) => self.http.post(url).header("content-type", "application/json").body(body.to_string()),
            None => self.http.get(url),
        };
        let failed = |e: reqwest::Error| format!("failed to ask AAP: {e}");
        let answer = request.bearer_auth(&self.token).send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(format!("AAP returned status {}: {text}", status.as_u16()));
        }
        serde_json::from_str(&text).map_err(|e| format!("failed to decode response: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::{HookSpec, ObjRef};

    #[test]
    fn a_hook_of_the_platform_has_a_template_a_way_there_and_nothing_local() {
        let own = AapHook {
            job_template_id: 7,
            url: "http://a".into(),
            token_secret: Some(ObjRef::new("n", "t")),
            timeout: None,
        };
        assert!(has_own(&own) && !has_own(&AapHook { url: String::new(), ..own.clone() }));
        let hook = |image: &str| {
            Hook::new("h", HookSpec { image: image.into(), aap: Some(own.clone()), ..HookSpec::default() })
        };
        assert_eq!(refusal(&hook(""), &own, true), None);
        assert!(refusal(&hook("i"), &own, true).unwrap().contains("cannot be combined"));
        assert!(refusal(&hook(""), &AapHook { job_template_id: 0, ..own.clone() }, true).unwrap().contains("> 0"));
        assert!(refusal(&hook(""), &own, false).unwrap().contains("per-hook connection"));
    }
}
