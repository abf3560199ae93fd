//! The table of built-in resources: native kinds and custom ones. To serve one more kind, add a line.

use super::resources::{Column, NameRule, ResourceDef, StatusMode};

/// Cluster scoped or namespaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}
use Scope::Namespaced;

mod custom;
mod native;

/// Plural, kind, scope, status, short names, printer columns as `NAME:type:path` (a `!` before the
/// name: only in wide output; a path `=NAME`: computed by [`super::columns`]).
type Row = (&'static str, &'static str, Scope, StatusMode, &'static [&'static str], &'static [&'static str]);

/// Kinds of the API server itself that have a spec with a generation.
const WITH_GENERATION: &[&str] = &[
    "pods",
    "daemonsets",
    "deployments",
    "replicasets",
    "statefulsets",
    "jobs",
    "cronjobs",
    "networkpolicies",
    "ingresses",
    "ingressclasses",
    "replicationcontrollers",
    "poddisruptionbudgets",
    "priorityclasses",
    "endpointslices",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "customresourcedefinitions",
];
const DELETE_RETURNS_OBJECT: &[&str] = &[
    "namespaces",
    "projects",
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "services",
    "serviceaccounts",
    "storageclasses",
    "customresourcedefinitions",
];

/// What the real server says of a column.
fn describe(name: &str, path: &str, _wide: bool, custom: bool) -> String {
    match name {
        "Age" if !custom => AGE_DESCRIPTION.to_owned(),
        _ if custom => format!("Custom resource definition column (in JSONPath format): {path}"),
        _ => name.to_owned(),
    }
}

pub(super) const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

fn column(text: &str, custom: bool) -> Option<Column> {
    let mut parts = text.splitn(3, ':');
    let (name, kind, path) = (parts.next()?, parts.next()?, parts.next()?);
    let wide = name.starts_with('!');
    Some(Column {
        name: name.trim_start_matches('!').to_owned(),
        kind: kind.to_owned(),
        path: path.to_owned(),
        priority: i64::from(wide),
        description: describe(name.trim_start_matches('!'), path, wide, custom),
    })
}

fn definition(group: &str, version: &str, row: &Row, custom: bool) -> ResourceDef {
    let (plural, kind, scope, status, short_names, columns) = *row;
    let review = ["authorization.", "authentication.", "upload."].iter().any(|begin| group.starts_with(begin));
    let name_rule = match (group, plural) {
        ("", "namespaces" | "services") => NameRule::Label,
        ("rbac.authorization.k8s.io" | "user.openshift.io", _) => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    };
    // A project is a namespace under another name.
    let storage = match group {
        "project.openshift.io" => ("", "namespaces"),
        "events.k8s.io" => ("", "events"),
        _ => (group, plural),
    };
    ResourceDef {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: short_names.iter().map(|s| (*s).to_owned()).collect(),
        namespaced: scope == Namespaced,
        status,
        custom,
        generation: custom || WITH_GENERATION.contains(&plural),
        review,
        delete_returns_object: DELETE_RETURNS_OBJECT.contains(&plural),
        name_rule,
        columns: columns.iter().filter_map(|c| column(c, custom)).collect(),
        storage: (storage.0.to_owned(), storage.1.to_owned()),
        schema: None,
        categories: Vec::new(),
        scale: matches!(plural, "deployments" | "replicasets" | "statefulsets" | "replicationcontrollers")
            .then(|| [".spec.replicas", ".status.replicas", ".status.selector"].map(str::to_owned)),
        selectable: selectable(group, plural).iter().map(|s| (*s).to_owned()).collect(),
    }
}

/// Fields of native kinds that a field selector may name.
fn selectable(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "secrets") => &["type"],
        ("", "namespaces") | ("project.openshift.io", _) => &["status.phase", "name"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("" | "events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ],
        ("batch", "jobs") => &["status.successful"],
        ("apps", "replicasets") => &["status.replicas"],
        ("route.openshift.io", _) => &["spec.host", "spec.path", "spec.to.name"],
        _ => &[],
    }
}

/// Everything that is served from the start.
pub(super) fn resources() -> Vec<ResourceDef> {
    let native = native::ROWS.iter().flat_map(|(g, v, rows)| rows.iter().map(move |row| definition(g, v, row, false)));
    let custom = custom::ROWS.iter().flat_map(|(g, v, rows)| rows.iter().map(move |row| definition(g, v, row, true)));
    native.chain(custom).collect()
}
