//! Known issues as Jira tells them today, where it is configured: what is closed there with a fix is known no more.
//!
//! Asked once, before the matrix is decided. An issue that Jira does not tell stays as its scenario says, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use futures::StreamExt as _;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{Probe, Weight};
use crate::api::text::without_user_info;
use crate::api::version::Version;
use crate::config::{Loaded, Scenarios, Settings};
use crate::net::fetch::fetch;
use crate::net::proxy::Proxies;
use crate::net::repeat::Repeat;
use crate::net::{Peer, words};

/// One request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// All of them: a run does not wait for a tracker.
const LIMIT: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 8;
/// Ways to close an issue that leave things as they are.
const NOT_FIXED: [&str; 10] = [
    "Won't Do",
    "Won't Fix",
    "Not a Bug",
    "Cannot Reproduce",
    "Can't Do",
    "Duplicate",
    "Obsolete",
    "Rejected",
    "Deferred",
    "Declined",
];

/// An issue as Jira tells it.
#[derive(Debug, Deserialize)]
struct Issue {
    fields: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    status: Status,
    #[serde(default)]
    resolution: Option<Named>,
    #[serde(default)]
    fix_versions: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    name: String,
    #[serde(default)]
    status_category: Option<Category>,
}

#[derive(Debug, Deserialize)]
struct Category {
    key: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Fields {
    fn resolution(&self) -> Option<&str> {
        self.resolution.as_ref().map(|resolution| resolution.name.as_str())
    }

    fn is_fixed(&self) -> bool {
        let closed = self.status.status_category.as_ref().is_some_and(|category| category.key == "done");
        let not_fixed = |name: &str| NOT_FIXED.iter().any(|one| one.eq_ignore_ascii_case(name));
        closed && !self.resolution().is_some_and(not_fixed)
    }

    /// Versions of MTV that have the fix: `MTV 2.12.4`, `2.12.4`.
    fn fixed_in(&self) -> Vec<String> {
        let version = |word: &str| Version::parse(word).map(|version| version.to_string());
        let mut all: Vec<String> =
            self.fix_versions.iter().filter_map(|named| named.name.split([' ', '-']).find_map(version)).collect();
        all.sort_by_key(|text| Version::parse(text));
        all
    }
}

/// What was asked, and what it came to.
#[derive(Debug, Default)]
pub struct Told {
    /// Something was not answered.
    pub doubtful: bool,
    pub line: String,
}

impl Told {
    pub(super) fn probe(self) -> Probe {
        let weight = if self.doubtful { Weight::Doubt } else { Weight::Fine };
        Probe::of("jira", weight, self.line).remedy("see `jira_url`, `jira_username` and `jira_token`")
    }
}

/// Whether it is a key of Jira's: not every known issue has one.
fn is_key(id: &str) -> bool {
    let Some((project, number)) = id.split_once('-') else { return false };
    let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    project.starts_with(|c: char| c.is_ascii_uppercase())
        && project.chars().all(letters)
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
}

/// Asks Jira for each known issue of the scenarios, and takes its word: what is fixed is taken out or gets the versions
/// that have the fix. `None`: there is no Jira, or nothing to ask.
pub async fn ask(loaded: &mut Loaded) -> Option<Told> {
    let answers = answers(&loaded.settings, &loaded.scenarios).await?;
    let told = line(&loaded.settings.jira_url, &answers);
    apply(&mut loaded.scenarios, &answers);
    Some(told)
}

/// The same question, and nothing is changed.
pub(super) async fn look(loaded: &Loaded) -> Option<Told> {
    let answers = answers(&loaded.settings, &loaded.scenarios).await?;
    Some(line(&loaded.settings.jira_url, &answers))
}

type Answers = BTreeMap<String, Result<Fields, String>>;

async fn answers(settings: &Settings, scenarios: &Scenarios) -> Option<Answers> {
    let known = scenarios.values().flat_map(|scenario| &scenario.known_issues);
    let keys: BTreeSet<String> = known.map(|issue| issue.id.clone()).filter(|id| is_key(id)).collect();
    if settings.jira_url.is_empty() || keys.is_empty() {
        return None;
    }
    let client = Proxies::from_env()
        .map_err(|error| error.to_string())
        .and_then(|proxies| proxies.apply(reqwest::Client::builder()).build().map_err(words::cause));
    let client = match client {
        Ok(client) => client,
        Err(why) => return Some(keys.into_iter().map(|key| (key, Err(why.clone()))).collect()),
    };
    let peer = Peer::new("jira");
    let mut left: Answers = keys.iter().map(|key| (key.clone(), Err(format!("no answer in {LIMIT:?}")))).collect();
    let mut asked = futures::stream::iter(keys)
        .map(|key| {
            let (client, peer) = (&client, &peer);
            async move {
                let answer = one(client, peer, settings, &key).await;
                (key, answer)
            }
        })
        .buffer_unordered(AT_ONCE);
    let take = async {
        while let Some((key, answer)) = asked.next().await {
            left.insert(key, answer);
        }
    };
    // What is late is told as such.
    let _ = tokio::time::timeout(LIMIT, take).await;
    drop(asked);
    Some(left)
}

async fn one(client: &reqwest::Client, peer: &Peer, settings: &Settings, key: &str) -> Result<Fields, String> {
    let base = settings.jira_url.trim_end_matches('/');
    let url = format!("{base}/rest/api/2/issue/{key}?fields=status,resolution,fixVersions");
    let request = || {
        let request = client.get(&url).header("accept", "application/json");
        match (&settings.jira_username, &settings.jira_token) {
            (Some(user), Some(token)) => {
                let both = format!("{user}:{}", token.expose_secret());
                let both = base64::engine::general_purpose::STANDARD.encode(both);
                request.header("authorization", format!("Basic {both}"))
            }
            (None, Some(token)) => request.bearer_auth(token.expose_secret()),
            (_, None) => request,
        }
    };
    let answer = fetch(peer, "issue", Repeat::Safe, TIMEOUT, request).await;
    let answer = answer.map_err(|error| words::plain(&words::chain(&error)))?;
    if !answer.status.is_success() {
        return Err(format!("HTTP {}", answer.status));
    }
    let issue: Result<Issue, _> = serde_json::from_slice(&answer.body);
    issue.map(|issue| issue.fields).map_err(|error| format!("an answer that can't be read: {error}"))
}

fn apply(scenarios: &mut Scenarios, answers: &Answers) {
    for scenario in scenarios.values_mut() {
        scenario.known_issues.retain_mut(|issue| {
            let Some(Ok(fields)) = answers.get(&issue.id) else { return true };
            if !fields.is_fixed() {
                return true;
            }
            let mut fixed = fields.fixed_in();
            let Some(last) = fixed.pop() else { return false };
            issue.fixed_in = Some(last);
            issue.backports = fixed;
            true
        });
    }
}

/// What came of it, in one line.
fn line(url: &str, answers: &Answers) -> Told {
    let url = without_user_info(url);
    let silent: BTreeSet<&String> = answers.values().filter_map(|answer| answer.as_ref().err()).collect();
    if answers.values().all(Result::is_err) {
        let why: Vec<&str> = silent.into_iter().map(String::as_str).collect();
        let line = format!("Jira at {url} tells nothing ({}): known issues are as the scenarios say", why.join("; "));
        return Told { doubtful: true, line };
    }
    let issue = |(key, answer): (&String, &Result<Fields, String>)| match answer {
        Err(why) => format!("{key} not told ({why}), as its scenario says"),
        Ok(fields) if fields.is_fixed() => match fields.fixed_in().as_slice() {
            [] => format!("{key} {}, known no more", fields.status.name),
            fixed => format!("{key} {}, fixed in {}", fields.status.name, fixed.join(", ")),
        },
        Ok(fields) => {
            let resolution = fields.resolution().map(|name| format!(" as {name}")).unwrap_or_default();
            format!("{key} {}{resolution}", fields.status.name)
        }
    };
    let all: Vec<String> = answers.iter().map(issue).collect();
    Told { doubtful: !silent.is_empty(), line: format!("Jira at {url}: {}", all.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fields(status: &str, category: &str, resolution: Value, fixed: &[&str]) -> Fields {
        let fixed: Vec<Value> = fixed.iter().map(|name| json!({"name": name})).collect();
        let told = json!({"fields": {"status": {"name": status, "statusCategory": {"key": category}},
            "resolution": resolution, "fixVersions": fixed}});
        serde_json::from_value::<Issue>(told).unwrap().fields
    }

    #[test]
    fn an_issue_is_fixed_where_it_is_closed_and_not_put_aside_and_its_versions_are_read() {
        let done = json!({"name": "Done"});
        assert!(fields("Closed", "done", done.clone(), &[]).is_fixed());
        assert!(fields("Closed", "done", Value::Null, &[]).is_fixed());
        assert!(!fields("Closed", "done", json!({"name": "Won't Do"}), &[]).is_fixed());
        assert!(!fields("In Progress", "indeterminate", Value::Null, &["MTV 2.12.0"]).is_fixed());
        let fixed = fields("Closed", "done", done, &["MTV 2.12.9", "2.11.4", "some day"]).fixed_in();
        assert_eq!(fixed, ["2.11.4", "2.12.9"]);
    }

    #[test]
    fn keys_of_jira_are_told_from_places_in_the_source() {
        assert!(is_key("MTV-2846") && is_key("CNV_2-1"));
        for other in ["getPVCs in pkg/controller", "MTV-", "mtv-1", "MTV", "-1", "MTV-1a"] {
            assert!(!is_key(other), "{other}");
        }
    }
}
