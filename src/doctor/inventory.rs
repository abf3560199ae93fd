//! Whether MTV's inventory answers. Reads only.

use super::Probe;
use crate::cluster::Cluster;
use crate::forklift::address::{InventoryAddress, get_json, inventory_address};
use crate::net::Peer;

pub(super) async fn probe(cluster: &Cluster, namespace: &str) -> Probe {
    Probe::new("inventory", inventory(cluster, namespace).await).remedy(format!(
        "look at the deployment forklift-controller (container inventory) and the Route forklift-inventory of {namespace}"
    ))
}

async fn inventory(cluster: &Cluster, namespace: &str) -> Result<String, String> {
    let address = inventory_address(cluster, namespace).await?;
    match get_json(cluster, &Peer::new("inventory"), &address, "providers").await? {
        (200, _) => Ok(match address {
            InventoryAddress::Route(url) => format!("answers at {url}"),
            InventoryAddress::Proxy(path) => format!("answers through the API server at {path}"),
        }),
        (status, _) => Err(format!("answered HTTP {status}")),
    }
}
