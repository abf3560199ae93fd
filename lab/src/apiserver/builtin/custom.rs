//! Custom resources that stand without a CustomResourceDefinition. One that somebody defines replaces
//! its row here.

use super::super::resources::StatusMode::{Both, None as NoStatus, Separate};
use super::Row;
use super::Scope::{Cluster, Namespaced};

const AGE: &str = "Age:date:.metadata.creationTimestamp";
const READY: &str = "Ready:string:.status.conditions[?(@.type==\"Ready\")].status";

macro_rules! condition {
    ($title:literal, $type:literal) => {
        concat!($title, ":string:.status.conditions[?(@.type==\"", $type, "\")].status")
    };
}

/// By group and version.
pub(super) const ROWS: &[(&str, &str, &[Row])] = &[
    // Computed at each look ([`super::super::metrics`]).
    (
        "metrics.k8s.io",
        "v1beta1",
        &[
            ("nodes", "NodeMetrics", Cluster, NoStatus, &[], &[AGE]),
            ("pods", "PodMetrics", Namespaced, NoStatus, &[], &[AGE]),
        ],
    ),
    (
        "forklift.konveyor.io",
        "v1beta1",
        &[
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
    // Answered, not kept.
    (
        "upload.cdi.kubevirt.io",
        "v1beta1",
        &[("uploadtokenrequests", "UploadTokenRequest", Namespaced, NoStatus, &["utr", "utrs"], &[])],
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
                    "Since:date:.status.conditions[?(@.type==\"Progressing\")].lastTransitionTime",
                    "Status:string:.status.conditions[?(@.type==\"Progressing\")].message",
                ],
            ),
            (
                "clusteroperators",
                "ClusterOperator",
                Cluster,
                Separate,
                &["co"],
                &[
                    "Version:string:.status.versions[?(@.name==\"operator\")].version",
                    condition!("Available", "Available"),
                    condition!("Progressing", "Progressing"),
                    condition!("Degraded", "Degraded"),
                    "Since:date:.status.conditions[?(@.type==\"Available\")].lastTransitionTime",
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
        "image.openshift.io",
        "v1",
        &[(
            "imagestreams",
            "ImageStream",
            Namespaced,
            Separate,
            &["is"],
            &["Image Repository:string:.status.dockerImageRepository", "Tags:string:.status.tags[*].tag"],
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
