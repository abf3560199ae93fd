//! The table of rights, from the roles themselves: the rules as YAML says them, the reasons from the comment
//! above each. A rule without a reason makes no table.

use std::path::Path;

use serde::Deserialize;

use super::DocsError;

/// The roles, in the order in which the table has them, and how each is given.
const ROLES: [(&str, &str); 8] = [
    ("base/rbac.yaml", "base"),
    ("base/rbac-mtv.yaml", "base"),
    ("base/rbac-monitoring.yaml", "base"),
    ("components/remote/rbac.yaml", "component `remote`"),
    ("components/openshift-source/rbac.yaml", "component `openshift-source`"),
    ("components/stories/rbac.yaml", "component `stories`"),
    ("components/limited/rbac.yaml", "component `limited`"),
    ("components/must-gather/rbac.yaml", "component `must-gather`"),
];

/// A Role, a ClusterRole, or what binds one.
#[derive(Deserialize)]
struct Document {
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Metadata {
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

/// One line a rule.
pub(super) fn table(manifests: &Path) -> Result<String, DocsError> {
    let mut out = "| given by | where | may | why |\n|---|---|---|---|\n".to_owned();
    for (file, given) in ROLES {
        let path = manifests.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| DocsError::File { path: path.clone(), error })?;
        let lines = rows(&text, given).map_err(|cause| DocsError::Role { path, cause })?;
        out.push_str(&lines);
    }
    Ok(out)
}

fn rows(text: &str, given: &str) -> Result<String, String> {
    let documents: Vec<Document> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let rules = documents.iter().flat_map(|d| d.rules.iter().map(|rule| (d.metadata.namespace.as_deref(), rule)));
    let rules: Vec<(Option<&str>, &Rule)> = rules.collect();
    let reasons = reasons(text)?;
    if reasons.len() != rules.len() {
        return Err(format!("{} rules and {} reasons: each `- apiGroups:` begins a rule", rules.len(), reasons.len()));
    }
    let mut out = String::new();
    for ((namespace, rule), why) in rules.into_iter().zip(reasons) {
        let place = namespace.map_or("everywhere".to_owned(), |namespace| format!("`{namespace}`"));
        let group = rule.api_groups.join(", ");
        let of = if group.is_empty() { String::new() } else { format!(" of `{group}`") };
        let listed = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let named = match rule.resource_names.as_slice() {
            [] => String::new(),
            names => format!(", only {}", listed(names)),
        };
        let may = format!("{} {}{of}{named}", rule.verbs.join(", "), listed(&rule.resources));
        out.push_str(&format!("| {given} | {place} | {may} | {} |\n", why.replace('|', "\\|")));
    }
    Ok(out)
}

/// The comment right above each rule.
fn reasons(text: &str) -> Result<Vec<String>, String> {
    let (mut all, mut above): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            above.push(comment.trim());
            continue;
        }
        if line.starts_with("- apiGroups:") {
            if above.is_empty() {
                return Err(format!("line {}: a comment above the rule is to say why it is needed", number + 1));
            }
            all.push(above.join(" "));
        }
        above.clear();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "kind: Role\nmetadata:\n  name: r\n  namespace: n\nrules:\n  # Because\n  # of this.\n  - \
                        apiGroups: [apps]\n    resources: [deployments]\n    resourceNames: [d]\n    verbs: [get]\n";

    #[test]
    fn a_rule_is_a_line_with_the_comment_above_it() {
        let wanted = "| base | `n` | get `deployments` of `apps`, only `d` | Because of this. |\n";
        assert_eq!(rows(ROLE, "base").unwrap(), wanted);
    }

    #[test]
    fn a_rule_without_a_reason_is_refused_with_its_line() {
        let silent = ROLE.replace("  # Because\n  # of this.\n", "");
        assert!(rows(&silent, "base").unwrap_err().starts_with("line 6:"));
    }
}
