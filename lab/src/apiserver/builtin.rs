//! The table of built-in resources. To serve one more kind, add a line.

use super::resources::{Column, NameRule, ResourceDef, StatusMode};

/// Cluster scoped or namespaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}
use Scope::{Cluster, Namespaced};
use StatusMode::{Both, None as NoStatus, Separate};

/// Plural, kind, scope, status, short names, printer columns as `NAME:type:path` (a `!` before the
/// name: only in wide output).
type Row = (&'static str, &'static str, Scope, StatusMode, &'static [&'static str], &'static [&'static str]);

const AGE: &str = "Age:date:.metadata.creationTimestamp";
const READY: &str = "Ready:string:.status.conditions[?(@.type==\"Ready\")].status";

/// Served by the API server itself or by OpenShift's; not custom resources.
const NATIVE: &[(&str, &str, &[Row])] = &[
    (
        "",
        "v1",
        &[
            ("configmaps", "ConfigMap", Namespaced, NoStatus, &["cm"], &["Data:string:#.data", AGE]),
            ("endpoints", "Endpoints", Namespaced, NoStatus, &["ep"], &[AGE]),
            (
                "events",
                "Event",
                Namespaced,
                NoStatus,
                &["ev"],
                &[
                    "Last Seen:date:.lastTimestamp",
                    "Type:string:.type",
                    "Reason:string:.reason",
                    "Object:string:.involvedObject.name",
                    "Message:string:.message",
                ],
            ),
            ("limitranges", "LimitRange", Namespaced, NoStatus, &["limits"], &[AGE]),
            ("namespaces", "Namespace", Cluster, Separate, &["ns"], &["Status:string:.status.phase", AGE]),
            ("nodes", "Node", Cluster, Both, &["no"], &[READY, AGE, "Version:string:.status.nodeInfo.kubeletVersion"]),
            (
                "persistentvolumeclaims",
                "PersistentVolumeClaim",
                Namespaced,
                Separate,
                &["pvc"],
                &[
                    "Status:string:.status.phase",
                    "Volume:string:.spec.volumeName",
                    "Capacity:string:.status.capacity.storage",
                    "Access Modes:string:.status.accessModes",
                    "StorageClass:string:.spec.storageClassName",
                    AGE,
                    "!VolumeMode:string:.spec.volumeMode",
                ],
            ),
            (
                "persistentvolumes",
                "PersistentVolume",
                Cluster,
                Separate,
                &["pv"],
                &[
                    "Capacity:string:.spec.capacity.storage",
                    "Access Modes:string:.spec.accessModes",
                    "Reclaim Policy:string:.spec.persistentVolumeReclaimPolicy",
                    "Status:string:.status.phase",
                    "Claim:string:.spec.claimRef.name",
                    "StorageClass:string:.spec.storageClassName",
                    AGE,
                ],
            ),
            (
                "pods",
                "Pod",
                Namespaced,
                Separate,
                &["po"],
                &["Status:string:.status.phase", AGE, "!IP:string:.status.podIP", "!Node:string:.spec.nodeName"],
            ),
            ("resourcequotas", "ResourceQuota", Namespaced, Separate, &["quota"], &[AGE]),
            ("secrets", "Secret", Namespaced, NoStatus, &[], &["Type:string:.type", "Data:string:#.data", AGE]),
            ("serviceaccounts", "ServiceAccount", Namespaced, NoStatus, &["sa"], &[AGE]),
            (
                "services",
                "Service",
                Namespaced,
                Separate,
                &["svc"],
                &["Type:string:.spec.type", "Cluster-IP:string:.spec.clusterIP", AGE],
            ),
        ],
    ),
    ("events.k8s.io", "v1", &[("events", "Event", Namespaced, NoStatus, &["ev"], &[AGE])]),
    (
        "apps",
        "v1",
        &[
            ("daemonsets", "DaemonSet", Namespaced, Separate, &["ds"], &[AGE]),
            (
                "deployments",
                "Deployment",
                Namespaced,
                Separate,
                &["deploy"],
                &[
                    "Ready:integer:.status.readyReplicas",
                    "Up-to-date:integer:.status.updatedReplicas",
                    "Available:integer:.status.availableReplicas",
                    AGE,
                ],
            ),
            ("replicasets", "ReplicaSet", Namespaced, Separate, &["rs"], &[AGE]),
            ("statefulsets", "StatefulSet", Namespaced, Separate, &["sts"], &[AGE]),
        ],
    ),
    (
        "batch",
        "v1",
        &[
            ("cronjobs", "CronJob", Namespaced, Separate, &["cj"], &[AGE]),
            ("jobs", "Job", Namespaced, Separate, &[], &["Succeeded:integer:.status.succeeded", AGE]),
        ],
    ),
    (
        "storage.k8s.io",
        "v1",
        &[
            (
                "storageclasses",
                "StorageClass",
                Cluster,
                NoStatus,
                &["sc"],
                &["Provisioner:string:.provisioner", "VolumeBindingMode:string:.volumeBindingMode", AGE],
            ),
            ("volumeattachments", "VolumeAttachment", Cluster, Separate, &[], &[AGE]),
            ("csidrivers", "CSIDriver", Cluster, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        &[
            ("clusterrolebindings", "ClusterRoleBinding", Cluster, NoStatus, &[], &["Role:string:.roleRef.name", AGE]),
            ("clusterroles", "ClusterRole", Cluster, NoStatus, &[], &[AGE]),
            ("rolebindings", "RoleBinding", Namespaced, NoStatus, &[], &["Role:string:.roleRef.name", AGE]),
            ("roles", "Role", Namespaced, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "authorization.k8s.io",
        "v1",
        &[
            ("localsubjectaccessreviews", "LocalSubjectAccessReview", Namespaced, NoStatus, &[], &[]),
            ("selfsubjectaccessreviews", "SelfSubjectAccessReview", Cluster, NoStatus, &[], &[]),
            ("selfsubjectrulesreviews", "SelfSubjectRulesReview", Cluster, NoStatus, &[], &[]),
            ("subjectaccessreviews", "SubjectAccessReview", Cluster, NoStatus, &[], &[]),
        ],
    ),
    (
        "authentication.k8s.io",
        "v1",
        &[
            ("selfsubjectreviews", "SelfSubjectReview", Cluster, NoStatus, &[], &[]),
            ("tokenreviews", "TokenReview", Cluster, NoStatus, &[], &[]),
        ],
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        &[("customresourcedefinitions", "CustomResourceDefinition", Cluster, Separate, &["crd", "crds"], &[AGE])],
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        &[
            ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", Cluster, NoStatus, &[], &[AGE]),
            ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", Cluster, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "coordination.k8s.io",
        "v1",
        &[("leases", "Lease", Namespaced, NoStatus, &[], &["Holder:string:.spec.holderIdentity", AGE])],
    ),
    ("apiregistration.k8s.io", "v1", &[("apiservices", "APIService", Cluster, Separate, &[], &[AGE])]),
    ("networking.k8s.io", "v1", &[("networkpolicies", "NetworkPolicy", Namespaced, NoStatus, &["netpol"], &[AGE])]),
    ("policy", "v1", &[("poddisruptionbudgets", "PodDisruptionBudget", Namespaced, Separate, &["pdb"], &[AGE])]),
    ("scheduling.k8s.io", "v1", &[("priorityclasses", "PriorityClass", Cluster, NoStatus, &["pc"], &[AGE])]),
    (
        "project.openshift.io",
        "v1",
        &[
            ("projectrequests", "ProjectRequest", Cluster, NoStatus, &[], &[]),
            ("projects", "Project", Cluster, NoStatus, &[], &["Status:string:.status.phase", AGE]),
        ],
    ),
    (
        "route.openshift.io",
        "v1",
        &[("routes", "Route", Namespaced, Both, &[], &["Host:string:.spec.host", "Service:string:.spec.to.name", AGE])],
    ),
    (
        "user.openshift.io",
        "v1",
        &[("groups", "Group", Cluster, NoStatus, &[], &[AGE]), ("users", "User", Cluster, NoStatus, &[], &[AGE])],
    ),
];

macro_rules! condition {
    ($title:literal, $type:literal) => {
        concat!($title, ":string:.status.conditions[?(@.type==\"", $type, "\")].status")
    };
}

/// Custom resources that stand without a CustomResourceDefinition.
const CUSTOM: &[(&str, &str, &[Row])] = &[
    (
        "forklift.konveyor.io",
        "v1beta1",
        &[
            ("conversions", "Conversion", Namespaced, Separate, &[], &["Phase:string:.status.phase", AGE]),
            ("forkliftcontrollers", "ForkliftController", Namespaced, Separate, &[], &[AGE]),
            ("hooks", "Hook", Namespaced, Separate, &[], &[READY, "Image:string:.spec.image", AGE]),
            (
                "hosts",
                "Host",
                Namespaced,
                Separate,
                &[],
                &[READY, condition!("Connected", "ConnectionTestSucceeded"), AGE],
            ),
            ("hypervproviderservers", "HyperVProviderServer", Namespaced, Separate, &[], &[AGE]),
            (
                "migrations",
                "Migration",
                Namespaced,
                Separate,
                &[],
                &[
                    READY,
                    condition!("Running", "Running"),
                    condition!("Succeeded", "Succeeded"),
                    condition!("Failed", "Failed"),
                    AGE,
                ],
            ),
            ("networkmaps", "NetworkMap", Namespaced, Separate, &[], &[READY, AGE]),
            ("openstackvolumepopulators", "OpenstackVolumePopulator", Namespaced, Separate, &[], &[AGE]),
            ("ovaproviderservers", "OVAProviderServer", Namespaced, Separate, &[], &[AGE]),
            ("ovirtvolumepopulators", "OvirtVolumePopulator", Namespaced, Separate, &[], &[AGE]),
            (
                "plans",
                "Plan",
                Namespaced,
                Separate,
                &[],
                &[
                    READY,
                    condition!("Executing", "Executing"),
                    condition!("Succeeded", "Succeeded"),
                    condition!("Failed", "Failed"),
                    AGE,
                ],
            ),
            (
                "providers",
                "Provider",
                Namespaced,
                Separate,
                &[],
                &[
                    "Type:string:.spec.type",
                    "Status:string:.status.phase",
                    READY,
                    condition!("Connected", "ConnectionTestSucceeded"),
                    condition!("Inventory", "InventoryCreated"),
                    "URL:string:.spec.url",
                    AGE,
                ],
            ),
            ("storagemaps", "StorageMap", Namespaced, Separate, &[], &[READY, AGE]),
            ("vspherexcopyvolumepopulators", "VSphereXcopyVolumePopulator", Namespaced, Separate, &[], &[AGE]),
        ],
    ),
    (
        "kubevirt.io",
        "v1",
        &[
            ("kubevirts", "KubeVirt", Namespaced, Separate, &["kv", "kvs"], &[AGE, "Phase:string:.status.phase"]),
            (
                "virtualmachineinstancemigrations",
                "VirtualMachineInstanceMigration",
                Namespaced,
                Separate,
                &["vmim", "vmims"],
                &["Phase:string:.status.phase", "VMI:string:.spec.vmiName"],
            ),
            (
                "virtualmachineinstances",
                "VirtualMachineInstance",
                Namespaced,
                // The real one has no `/status`; both ways are open, so that either client works.
                Both,
                &["vmi", "vmis"],
                &[
                    AGE,
                    "Phase:string:.status.phase",
                    "IP:string:.status.interfaces[0].ipAddress",
                    "NodeName:string:.status.nodeName",
                    READY,
                ],
            ),
            (
                "virtualmachines",
                "VirtualMachine",
                Namespaced,
                Separate,
                &["vm", "vms"],
                &[AGE, "Status:string:.status.printableStatus", READY],
            ),
        ],
    ),
    (
        "instancetype.kubevirt.io",
        "v1beta1",
        &[
            ("virtualmachineclusterinstancetypes", "VirtualMachineClusterInstancetype", Cluster, NoStatus, &[], &[AGE]),
            ("virtualmachineclusterpreferences", "VirtualMachineClusterPreference", Cluster, NoStatus, &[], &[AGE]),
            ("virtualmachineinstancetypes", "VirtualMachineInstancetype", Namespaced, NoStatus, &[], &[AGE]),
            ("virtualmachinepreferences", "VirtualMachinePreference", Namespaced, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "cdi.kubevirt.io",
        "v1beta1",
        &[
            ("cdiconfigs", "CDIConfig", Cluster, Both, &[], &[AGE]),
            ("cdis", "CDI", Cluster, Both, &["cdi"], &[AGE, "Phase:string:.status.phase"]),
            ("dataimportcrons", "DataImportCron", Namespaced, Both, &["dic", "dics"], &[AGE]),
            ("datasources", "DataSource", Namespaced, Both, &["das"], &[AGE]),
            (
                "datavolumes",
                "DataVolume",
                Namespaced,
                Separate,
                &["dv", "dvs"],
                &[
                    "Phase:string:.status.phase",
                    "Progress:string:.status.progress",
                    "Restarts:integer:.status.restartCount",
                    AGE,
                ],
            ),
            ("storageprofiles", "StorageProfile", Cluster, Separate, &[], &[AGE]),
            ("volumeclonesources", "VolumeCloneSource", Namespaced, NoStatus, &[], &[AGE]),
            ("volumeimportsources", "VolumeImportSource", Namespaced, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "k8s.cni.cncf.io",
        "v1",
        &[(
            "network-attachment-definitions",
            "NetworkAttachmentDefinition",
            Namespaced,
            NoStatus,
            &["net-attach-def"],
            &[AGE],
        )],
    ),
    (
        "config.openshift.io",
        "v1",
        &[
            (
                "clusterversions",
                "ClusterVersion",
                Cluster,
                Separate,
                &[],
                &[
                    "Version:string:.status.history[0].version",
                    condition!("Available", "Available"),
                    condition!("Progressing", "Progressing"),
                ],
            ),
            ("dnses", "DNS", Cluster, Separate, &[], &[AGE]),
            ("infrastructures", "Infrastructure", Cluster, Separate, &[], &[AGE]),
            ("ingresses", "Ingress", Cluster, Separate, &[], &[AGE]),
            ("oauths", "OAuth", Cluster, Separate, &[], &[AGE]),
        ],
    ),
    (
        "console.openshift.io",
        "v1",
        &[(
            "consoleclidownloads",
            "ConsoleCLIDownload",
            Cluster,
            NoStatus,
            &[],
            &["Display Name:string:.spec.displayName", AGE],
        )],
    ),
    (
        "operators.coreos.com",
        "v1alpha1",
        &[
            (
                "clusterserviceversions",
                "ClusterServiceVersion",
                Namespaced,
                Separate,
                &["csv", "csvs"],
                &["Display:string:.spec.displayName", "Version:string:.spec.version", "Phase:string:.status.phase"],
            ),
            ("installplans", "InstallPlan", Namespaced, Separate, &["ip"], &[AGE]),
            (
                "subscriptions",
                "Subscription",
                Namespaced,
                Separate,
                &["sub", "subs"],
                &["Package:string:.spec.name", "Source:string:.spec.source", "Channel:string:.spec.channel"],
            ),
        ],
    ),
    (
        "snapshot.storage.k8s.io",
        "v1",
        &[
            ("volumesnapshotclasses", "VolumeSnapshotClass", Cluster, NoStatus, &["vsclass"], &[AGE]),
            ("volumesnapshots", "VolumeSnapshot", Namespaced, Separate, &["vs"], &[AGE]),
        ],
    ),
];

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
    let review = group.starts_with("authorization.") || group.starts_with("authentication.");
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
        scale: (group == "apps" && plural != "daemonsets")
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
    let native = NATIVE.iter().flat_map(|(g, v, rows)| rows.iter().map(move |row| definition(g, v, row, false)));
    let custom = CUSTOM.iter().flat_map(|(g, v, rows)| rows.iter().map(move |row| definition(g, v, row, true)));
    native.chain(custom).collect()
}
