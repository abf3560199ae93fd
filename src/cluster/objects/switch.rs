//! Starting and stopping a VM of the cluster by KubeVirt's own verbs, as a person does with `virtctl`.

use http::Request;

use crate::cluster::Cluster;
use crate::cluster::apply::ApplyError;

/// Asks KubeVirt to start the VM, or to stop it gently: its guest gets its whole grace period.
pub async fn switch(cluster: &Cluster, namespace: &str, name: &str, on: bool) -> Result<(), ApplyError> {
    let verb = if on { "start" } else { "stop" };
    let thing = format!("VirtualMachine {namespace}/{name}");
    let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}/{verb}");
    let request = Request::put(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(b"{}".to_vec())
        .map_err(|error| ApplyError::Malformed { thing: thing.clone(), cause: error.to_string() })?;
    let answer = cluster.client().request_text(request).await;
    answer.map(drop).map_err(|error| ApplyError::request(verb, &thing, &error))
}
