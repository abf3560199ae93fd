//! Who may do what: cluster administrators everything, nobody without a token anything, service
//! accounts what the stored roles and bindings give them.

use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::resources::ResourceDef;
use super::store::metadata;

pub(super) const ANONYMOUS: &str = "system:anonymous";
const MASTERS: &str = "system:masters";
/// Whom OpenShift's binding `cluster-admins` makes administrators. `kube:admin` is one of them (library-go,
/// `pkg/authentication/bootstrapauthenticator`).
const CLUSTER_ADMINS: &str = "system:cluster-admins";
/// The user that `kubeadmin` becomes.
pub(super) const BOOTSTRAP: &str = "kube:admin";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    /// A service account by its name, anybody else with a token an administrator of the lab.
    pub fn named(name: &str) -> Self {
        let groups = match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, _)) => vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            None if name == BOOTSTRAP => vec![CLUSTER_ADMINS.to_owned(), "system:authenticated".to_owned()],
            None => vec![MASTERS.to_owned(), "system:authenticated".to_owned()],
        };
        Self { name: name.to_owned(), groups }
    }
    /// Somebody whom an administrator names: no administrator, unless the groups say so.
    pub fn impersonated(name: &str, groups: Vec<String>) -> Self {
        let mut user = Self::named(name);
        user.groups.retain(|group| group != MASTERS && group != CLUSTER_ADMINS);
        user.groups.extend(groups);
        user
    }
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == MASTERS || g == CLUSTER_ADMINS)
    }
    pub fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// Empty for all namespaces and for cluster-scoped resources.
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Wish<'_> {
    fn full_resource(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            below => format!("{}/{below}", self.resource),
        }
    }
}

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|v| v == wanted || v == "*")
}

fn allows(rule: &Value, wish: &Wish<'_>) -> bool {
    let below = |r: &Value| r.as_str() == Some(&format!("*/{}", wish.subresource)) && !wish.subresource.is_empty();
    let resource =
        has(&rule["resources"], &wish.full_resource()) || rule["resources"].as_array().into_iter().flatten().any(below);
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    has(&rule["verbs"], wish.verb)
        && has(&rule["apiGroups"], wish.group)
        && resource
        && names.is_none_or(|names| names.iter().any(|n| n == wish.name))
}

fn is_subject(subject: &Value, user: &User, binding_namespace: &str) -> bool {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    match text("kind") {
        "User" => text("name") == user.name,
        "Group" => user.groups.iter().any(|g| g == text("name")),
        "ServiceAccount" => {
            let namespace = if text("namespace").is_empty() { binding_namespace } else { text("namespace") };
            user.name == format!("system:serviceaccount:{namespace}:{}", text("name"))
        }
        _ => false,
    }
}

impl State {
    /// The rules that a binding stands for.
    fn rules_of(&self, binding: &Value, namespace: &str) -> Vec<Value> {
        let text = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default();
        if text("name") == "cluster-admin" && text("kind") == "ClusterRole" {
            return vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})];
        }
        let plural = if text("kind") == "Role" { "roles" } else { "clusterroles" };
        let place = if plural == "roles" { namespace } else { "" };
        let key = super::store::ObjectKey {
            storage: ("rbac.authorization.k8s.io".to_owned(), plural.to_owned()),
            namespace: place.to_owned(),
            name: text("name").to_owned(),
        };
        let role = self.store.get(&key).unwrap_or_default();
        role["rules"].as_array().cloned().unwrap_or_default()
    }

    /// Everything that the bindings give the user in a namespace.
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Value> {
        if user.is_master() {
            return vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})];
        }
        self.bound_rules(user, namespace)
    }

    fn bound_rules(&self, user: &User, namespace: &str) -> Vec<Value> {
        let storage = |plural: &str| ("rbac.authorization.k8s.io".to_owned(), plural.to_owned());
        let cluster = self.store.list(&storage("clusterrolebindings"), None).1;
        let local = match namespace {
            "" => Vec::new(),
            namespace => self.store.list(&storage("rolebindings"), Some(namespace)).1,
        };
        let mut found = Vec::new();
        for binding in cluster.iter().chain(&local) {
            let place = metadata(binding, "namespace");
            if binding["subjects"].as_array().into_iter().flatten().any(|s| is_subject(s, user, place)) {
                found.extend(self.rules_of(binding, place));
            }
        }
        found
    }

    /// Whether the user may do it.
    pub fn may(&self, user: &User, wish: &Wish<'_>) -> bool {
        if user.is_master() {
            return true;
        }
        // What every authenticated user may ask of himself.
        let of_oneself =
            matches!(wish.resource, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews");
        if of_oneself && wish.verb == "create" && !user.is_anonymous() {
            return true;
        }
        self.bound_rules(user, wish.namespace).iter().any(|rule| allows(rule, wish))
    }

    /// Refuses what the user may not do, in the words of the real server.
    pub fn authorize(&self, user: &User, def: &ResourceDef, wish: &Wish<'_>) -> Result<(), ApiError> {
        if self.may(user, wish) {
            return Ok(());
        }
        let place = match wish.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            user.name,
            wish.verb,
            wish.full_resource(),
            wish.group
        );
        Err(ApiError::forbidden(def, wish.name, &why))
    }
}
