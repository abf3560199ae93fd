//! A right that is missing, as the rule that gives it: read from the API server's own refusal.

/// ` …; add the rule …` for a refusal that names verb and resource; `None` for any other text.
///
/// The server's sentence is `… cannot VERB resource "PLURAL[/SUB]" in API group "GROUP" [in the namespace
/// "NS" | at the cluster scope]` (k8s.io/apiserver, `responsewriters/errors.go`).
pub(super) fn rule_for(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once("in API group \"")?;
    let (group, rest) = rest.split_once('"')?;
    let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-./*".contains(c));
    if ![verb, resource, group].into_iter().all(fits) {
        return None;
    }
    let place = rest.split_once("in the namespace \"").and_then(|(_, ns)| ns.split_once('"')).map(|(ns, _)| ns);
    let role = place.map_or("ClusterRole".to_owned(), |ns| format!("Role of namespace {ns}, or the ClusterRole,"));
    Some(format!(
        "the right is missing: add to the {role} the rule {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], \
         verbs: [\"{verb}\"]}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_the_rule_to_add() {
        let namespaced = r#"virtualmachines.kubevirt.io "vm" is forbidden: User "u" cannot get resource "virtualmachines" in API group "kubevirt.io" in the namespace "mm-a""#;
        let rule = rule_for(namespaced).unwrap();
        assert!(rule.contains("Role of namespace mm-a"), "{rule}");
        let wanted = r#"{apiGroups: ["kubevirt.io"], resources: ["virtualmachines"], verbs: ["get"]}"#;
        assert!(rule.ends_with(wanted), "{rule}");
        let whole = r#"nodes is forbidden: User "u" cannot list resource "nodes" in API group "" at the cluster scope"#;
        assert!(rule_for(whole).unwrap().contains("to the ClusterRole the rule {apiGroups: [\"\"]"));
        assert_eq!(rule_for("admission webhook \"x\" denied the request"), None);
    }
}
