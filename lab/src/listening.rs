//! What listens in the lab's pods: sshd of the guest in a virt-launcher's, MTV's inventory in its controller's, and the
//! programs that the kubelet plays. All else is refused, as where nobody listens.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::MTV_NAMESPACE;
use crate::controllers::kubelet::Pods;
use crate::ports::{GuestStream, KubevirtSubresources, PodPorts};

/// Bytes in flight in each direction.
const STREAM_BYTES: usize = 64 * 1024;
const INVENTORY_PORT: u16 = 8443;

/// Knows who listens where.
pub struct Listening {
    pub pods: Arc<Pods>,
    pub guests: Arc<dyn KubevirtSubresources>,
    /// `host:port` on loopback.
    pub inventory: String,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

#[async_trait]
impl PodPorts for Listening {
    async fn dial(&self, pod: &Value, port: u16) -> Option<Box<dyn GuestStream>> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let label = |name: &str| text(&format!("/metadata/labels/{name}"));
        let namespace = text("/metadata/namespace");
        if label("kubevirt.io") == "virt-launcher" {
            return self.guests.portforward(namespace, label("vm.kubevirt.io~1name"), port).await.ok();
        }
        if namespace == MTV_NAMESPACE && label("control-plane") == "controller-manager" && port == INVENTORY_PORT {
            let stream = TcpStream::connect(self.inventory.as_str()).await.ok()?;
            return Some(Box::new(stream));
        }
        let address = SocketAddr::new(text("/status/podIP").parse().ok()?, port);
        if !self.pods.answers(&address) {
            return None;
        }
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (pods, stop) = (self.pods.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = pods.serve(address, ours) => {} }
        });
        Some(Box::new(theirs))
    }
}
