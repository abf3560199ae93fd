//! Whether MTV's own deployments are up. Reads only.

use k8s_openapi::api::apps::v1::Deployment;

use super::Probe;
use crate::cluster::Cluster;
use crate::cluster::objects::routes::get;

/// The deployments without which MTV migrates nothing (forklift.md §9.3).
const DEPLOYMENTS: [&str; 4] =
    ["forklift-controller", "forklift-api", "forklift-validation", "forklift-volume-populator-controller"];

/// One probe a deployment.
pub(super) async fn probes(cluster: &Cluster, namespace: &str) -> Vec<Probe> {
    let mut probes = Vec::new();
    for name in DEPLOYMENTS {
        let found = deployment(cluster, namespace, name).await;
        let remedy = format!(
            "is MTV installed in {namespace} (`mtv_namespace`)? `kubectl -n {namespace} describe deployment {name}` says more"
        );
        probes.push(Probe::new(format!("deployment {name}"), found).remedy(remedy));
    }
    probes
}

async fn deployment(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, String> {
    let there: Deployment = get(cluster, Some(namespace), name).await?;
    let conditions = there.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|c| c.type_.as_deref() == Some("Available")) {
        Some(c) if c.status.as_deref() == Some("True") => Ok(match image(&there) {
            Some(image) => format!("available, {image}"),
            None => "available".to_owned(),
        }),
        Some(c) => Err(format!("not available: {}", c.message.as_deref().unwrap_or("no reason given"))),
        None => Err("not available yet: it has no Available condition".to_owned()),
    }
}

/// Which build it is: the version alone does not tell one of a night from another.
fn image(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}
