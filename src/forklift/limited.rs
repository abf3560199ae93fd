//! A destination by the token of an account that may do no more there than MTV needs.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use secrecy::SecretString;

use crate::cluster::Tracked;
use crate::cluster::apply::ApplyError;

/// The account lives no longer than its namespace; MTV reads with the token as long as a migration takes.
const TOKEN_SECONDS: i64 = 24 * 3600;
const RBAC: &str = "rbac.authorization.k8s.io";
/// OpenShift's role for pods that choose their user and their privileges.
const SCC_ROLE: &str = "system:openshift:scc:privileged";
const READ: &[&str] = &["get", "list", "watch"];

/// What MTV does at a destination that it reaches by a token: group, resources, verbs beside reading. Reading as
/// `manifests/base` has it, the rest as `manifests/components/remote` does, where it was measured.
const RIGHTS: &[(&str, &[&str], &[&str])] = &[
    ("", &["namespaces"], &["create"]),
    ("", &["nodes", "persistentvolumes"], &[]),
    ("", &["persistentvolumeclaims"], &["create", "update", "patch", "delete", "deletecollection"]),
    ("", &["pods", "configmaps", "secrets"], &["create", "update", "patch", "delete", "deletecollection"]),
    ("", &["pods/log"], &[]),
    ("", &["serviceaccounts"], &["create"]),
    ("apps", &["daemonsets"], &[]),
    ("batch", &["jobs"], &["create", "delete"]),
    ("cdi.kubevirt.io", &["datavolumes"], &["create", "update", "patch", "delete"]),
    ("cdi.kubevirt.io", &["storageprofiles"], &[]),
    ("config.openshift.io", &["clusterversions", "infrastructures"], &[]),
    (
        "forklift.konveyor.io",
        &["openstackvolumepopulators", "ovirtvolumepopulators", "vspherexcopyvolumepopulators"],
        &["create", "update", "patch", "delete"],
    ),
    ("instancetype.kubevirt.io", &["virtualmachineinstancetypes", "virtualmachineclusterinstancetypes"], &[]),
    ("instancetype.kubevirt.io", &["virtualmachinepreferences", "virtualmachineclusterpreferences"], &[]),
    ("k8s.cni.cncf.io", &["network-attachment-definitions"], &[]),
    ("kubevirt.io", &["kubevirts", "virtualmachineinstances"], &[]),
    ("kubevirt.io", &["virtualmachines"], &["create", "update", "patch", "delete", "deletecollection"]),
    ("kubevirt.io", &["virtualmachines/finalizers"], &["update"]),
    (RBAC, &["roles", "rolebindings"], &["create"]),
    ("storage.k8s.io", &["storageclasses"], &[]),
    ("subresources.kubevirt.io", &["virtualmachineinstances/console"], &[]),
];

fn rules() -> Vec<PolicyRule> {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    RIGHTS
        .iter()
        .map(|(group, resources, verbs)| PolicyRule {
            api_groups: Some(all(&[group])),
            resources: Some(all(resources)),
            verbs: all(&[READ, verbs].concat()),
            ..PolicyRule::default()
        })
        .collect()
}

fn named(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: namespace.map(str::to_owned), ..ObjectMeta::default() }
}

fn role_ref(name: &str) -> RoleRef {
    RoleRef { api_group: Some(RBAC.to_owned()), kind: "ClusterRole".to_owned(), name: name.to_owned() }
}

fn account(namespace: &str, name: &str) -> Vec<Subject> {
    let (namespace, name) = (Some(namespace.to_owned()), name.to_owned());
    vec![Subject { kind: "ServiceAccount".to_owned(), name, namespace, ..Subject::default() }]
}

/// Makes account, ClusterRole and binding, all of one `name`, and answers with a token of the account. The role and the
/// binding belong to the namespace: they go with it, also where nobody else takes them away. `scc`: the default account
/// of that namespace may use the privileged SCC, as MTV's pods there run with it.
pub async fn account_with_few_rights(
    there: &Tracked,
    namespace: &str,
    name: &str,
    scc: bool,
) -> Result<SecretString, ApplyError> {
    let within: Api<Namespace> = Api::all(there.cluster.client());
    let home = format!("Namespace {namespace}");
    let found = within.get_metadata(namespace).await.map_err(|error| ApplyError::request("read", &home, &error))?;
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        name: namespace.to_owned(),
        uid: found.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let owned = || ObjectMeta { owner_references: Some(vec![owner.clone()]), ..named(name, None) };
    there.create(ServiceAccount { metadata: named(name, Some(namespace)), ..ServiceAccount::default() }).await?;
    there.create(ClusterRole { metadata: owned(), rules: Some(rules()), ..ClusterRole::default() }).await?;
    let subjects = Some(account(namespace, name));
    there.create(ClusterRoleBinding { metadata: owned(), role_ref: role_ref(name), subjects }).await?;
    if scc {
        let subjects = Some(account(namespace, "default"));
        let metadata = named("privileged-scc", Some(namespace));
        there.create(RoleBinding { metadata, role_ref: role_ref(SCC_ROLE), subjects }).await?;
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(there.cluster.client(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let thing = format!("a token of ServiceAccount {namespace}/{name}");
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await;
    let made = made.map_err(|error| ApplyError::request("get", &thing, &error))?;
    Ok(made.status.unwrap_or_default().token.unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn such_an_account_may_read_and_write_what_mtv_needs_and_nothing_of_everything() {
        for rule in rules() {
            let everything = |list: &[String]| list.iter().any(|text| text == "*");
            let resources = rule.resources.clone().unwrap_or_default();
            assert!(!everything(&resources) && !everything(&rule.verbs) && rule.verbs.contains(&"list".to_owned()));
            assert!(!everything(&rule.api_groups.clone().unwrap_or_default()), "{resources:?}");
        }
    }
}
