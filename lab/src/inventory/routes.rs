//! Which paths are there: Forklift registers its routes per platform (`pkg/controller/provider/web/*`,
//! `pkg/provider/ec2/inventory/web`, as of v2.12.5), and gin answers every other one by itself, before anybody is asked
//! for a token.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// By platform: the collections that are listed. `workloads` and `tree`, of which only single ones are read, the lab
/// does not have.
const COLLECTIONS: [(&str, &[&str]); 7] = [
    (
        "openshift",
        &[
            "clusterinstancetypes",
            "datavolumes",
            "instancetypes",
            "kubevirts",
            "namespaces",
            "networkattachmentdefinitions",
            "persistentvolumeclaims",
            "storageclasses",
            "vms",
        ],
    ),
    ("vsphere", &["clusters", "datacenters", "datastores", "folders", "hosts", "networks", "vms"]),
    (
        "ovirt",
        &[
            "clusters",
            "datacenters",
            "diskprofiles",
            "disks",
            "hosts",
            "networks",
            "nicprofiles",
            "servercpus",
            "storagedomains",
            "vms",
        ],
    ),
    (
        "openstack",
        &[
            "flavors",
            "images",
            "networks",
            "projects",
            "regions",
            "snapshots",
            "subnets",
            "vms",
            "volumes",
            "volumetypes",
        ],
    ),
    ("ova", &["disks", "networks", "storages", "vms"]),
    ("hyperv", &["clusters", "disks", "hosts", "networks", "storages", "vms"]),
    ("ec2", &["networks", "storages", "vms", "volumes"]),
];

/// Whether the platform, and the collection if one is named, have a route.
fn has(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).skip(1);
    let (type_, collection) = (parts.next(), parts.nth(1));
    let Some(type_) = type_ else { return true };
    let known = COLLECTIONS.iter().find(|(name, _)| *name == type_);
    known.is_some_and(|(_, all)| collection.is_none_or(|collection| all.contains(&collection)))
}

/// Lets requests by whose path has a route.
pub(super) async fn only_known(request: Request, next: Next) -> Response {
    if has(request.uri().path()) { next.run(request).await } else { none().await }
}

/// What gin says where no route is: `default404Body` of its `gin.go`, without a line's end.
pub(super) async fn none() -> Response {
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], "404 page not found").into_response()
}

#[cfg(test)]
mod tests {
    use super::has;

    #[test]
    fn routes_are_those_of_a_known_platform_and_of_its_collections() {
        for path in ["/providers", "/providers/vsphere", "/providers/ova/u", "/providers/ec2/u/volumes/vol-1"] {
            assert!(has(path), "{path}");
        }
        for path in
            ["/providers/nonsense", "/providers/nonsense/u/vms", "/providers/ova/u/hosts", "/providers/ec2/u/x/y"]
        {
            assert!(!has(path), "{path}");
        }
    }
}
