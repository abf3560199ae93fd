//! OpenShift: the VMs of a cluster, its own or another by URL and token; the inventory is live.
//!
//! What MTV migrates is the source VM as KubeVirt's export writes it down, with instance type and
//! preference merged in.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::networks::Rows;
use super::super::pipeline::Path;
use super::super::validate::{Add, View, item};
use super::super::{Mtv, MtvVersion};
use super::transport::{Protocol, told};
use super::{Shape, Source, missing};
use crate::controllers::kubevirt::json::{list, text};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::InvVm;
use crate::inventory::own::OwnVm;
use client::OpenshiftClient;
pub(crate) use clusters::Clusters;

mod client;
mod clusters;

pub(super) struct Openshift;

#[async_trait]
impl Source for Openshift {
    // The template is the source's.
    fn asks_for_nesting(&self, _: MtvVersion) -> bool {
        false
    }
    fn needs_url(&self) -> bool {
        false
    }

    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        if login.url.is_empty() { Vec::new() } else { missing(login, &["token"], false) }
    }

    /// A real request to the other cluster with the Secret's token, TLS as the Secret asks.
    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        if login.url.is_empty() {
            return Ok(Arc::new(OpenshiftClient::new(mtv.client.clone())));
        }
        let client = mtv.transports.of(login, Protocol::Rest)?;
        let request = client.get(format!("{}/api/v1/namespaces?limit=1", login.url.trim_end_matches('/')));
        let answer = request.bearer_auth(login.secret("token")).send().await;
        match answer.map_err(|e| ConnectError::Failed(told(&reqwest::Method::GET, &e)))?.status().as_u16() {
            200..=299 => {}
            code @ (400 | 401) => return Err(ConnectError::Auth(format!("the server answered {code}"))),
            code => return Err(ConnectError::Failed(format!("the server answered {code}"))),
        }
        let client = mtv.clusters.by_login(login).map_err(ConnectError::Failed)?;
        Ok(Arc::new(OpenshiftClient::new(client)))
    }

    fn live(&self) -> bool {
        true
    }

    fn names_volumes_after_source(&self) -> bool {
        true
    }

    fn rows(&self) -> Rows {
        Rows::First
    }

    fn names_pvcs(&self, version: MtvVersion) -> bool {
        version.at_least(11)
    }

    /// What is to move live must run (`PowerState`, plan/adapter/ocp/validator.go).
    fn judge(&self, view: &View<'_>, vm: &InvVm, add: &mut Add<'_>) {
        if view.plan.spec.type_.as_deref() == Some("live") && !vm.power_on {
            let message = "VM power state is incompatible with the selected migration type.";
            add("VMPowerStateUnsupported", "Critical", "NotSupported", message, item(vm));
        }
    }

    fn steps(&self, path: Path, _: MtvVersion) -> Vec<&'static str> {
        if path.live {
            vec!["PrepareTarget", "Synchronization"]
        } else {
            vec!["DiskTransfer", "VirtualMachineCreation"]
        }
    }

    /// The source's own template replaces what was prepared: labels, node selector and affinity of
    /// the Plan are lost, MACs and firmware stay. An interface whose network changes its type is
    /// dropped.
    fn shape(&self, _: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let prepared = machine["spec"]["template"]["spec"].clone();
        let OwnVm::Openshift(own) = &vm.own else { return };
        let mut template = own.template.clone();
        let spec = &mut template["spec"];
        let claims: Vec<Value> = list(&prepared, "/volumes").to_vec();
        let mut next = claims.iter();
        let mut lost = Vec::new();
        let mut volumes = Vec::new();
        for volume in list(spec, "/volumes") {
            if claim_of(volume).is_empty() {
                volumes.push(volume.clone());
            } else if let Some(made) = next.next() {
                let claim = &made["persistentVolumeClaim"];
                let by_data_volume = json!({"name": volume["name"], "dataVolume": {"name": claim["claimName"]}});
                let by_claim = json!({"name": volume["name"], "persistentVolumeClaim": claim});
                volumes.push(if volume.get("dataVolume").is_some() { by_data_volume } else { by_claim });
            } else {
                lost.push(text(volume, "/name").to_owned());
            }
        }
        let kept = |disk: &&Value| !lost.iter().any(|name| name == text(disk, "/name"));
        let disks: Vec<Value> = list(spec, "/domain/devices/disks").iter().filter(kept).cloned().collect();
        let (mut interfaces, mut networks) = (Vec::new(), Vec::new());
        for (index, interface) in list(spec, "/domain/devices/interfaces").iter().enumerate() {
            let named = |all: &'static str, from: &Value, name: &str| {
                list(from, all).iter().find(|n| text(n, "/name") == name).cloned()
            };
            let place = format!("net-{index}");
            let before = named("/networks", spec, text(interface, "/name"));
            let (Some(before), Some(after)) = (before, named("/networks", &prepared, &place)) else { continue };
            if before.get("pod").is_some() != after.get("pod").is_some() {
                continue;
            }
            let mut interface = interface.clone();
            if let Some(made) = named("/domain/devices/interfaces", &prepared, &place) {
                interface["macAddress"] = made["macAddress"].clone();
            }
            let mut network = after;
            network["name"] = before["name"].clone();
            interfaces.push(interface);
            networks.push(network);
        }
        spec["volumes"] = json!(volumes);
        spec["networks"] = json!(networks);
        let domain = &mut spec["domain"];
        domain["devices"]["disks"] = json!(disks);
        domain["devices"]["interfaces"] = json!(interfaces);
        // Equal to the source's, unless a defect is on.
        for part in ["sockets", "cores"] {
            domain["cpu"][part] = prepared["domain"]["cpu"][part].clone();
        }
        domain["resources"] = json!({});
        domain["memory"] = prepared["domain"]["memory"].clone();
        let bootloader = &prepared["domain"]["firmware"]["bootloader"];
        if bootloader.get("efi").is_some() != domain.pointer("/firmware/bootloader/efi").is_some() {
            domain["firmware"]["bootloader"] = bootloader.clone();
        }
        machine["spec"]["template"] = template;
    }
}

/// The claim that a volume names; empty where it has none.
fn claim_of(volume: &Value) -> &str {
    match text(volume, "/persistentVolumeClaim/claimName") {
        "" => text(volume, "/dataVolume/name"),
        claim => claim,
    }
}

#[cfg(test)]
mod tests {
    use super::client::{Around, inv_vm};
    use super::*;

    fn source() -> Value {
        json!({"metadata": {"name": "s", "namespace": "src", "uid": "u"}, "spec": {"runStrategy": "Always", "template": {
            "metadata": {"labels": {"own": "label"}},
            "spec": {
                "domain": {"cpu": {"sockets": 2, "cores": 1}, "memory": {"guest": "2Gi"}, "devices": {
                    "disks": [{"name": "root"}, {"name": "c"}],
                    "interfaces": [{"name": "a", "macAddress": "02:1", "masquerade": {}}, {"name": "b", "macAddress": "02:2", "bridge": {}}]}},
                "networks": [{"name": "a", "pod": {}}, {"name": "b", "multus": {"networkName": "src/nad"}}],
                "volumes": [{"name": "root", "dataVolume": {"name": "s"}}, {"name": "c", "cloudInitNoCloud": {"userData": "x"}}]}}}})
    }

    fn shaped(second: Value) -> Value {
        let around = Around::default();
        let vm = inv_vm(&source(), &around);
        let mut machine = json!({"spec": {"template": {"metadata": {"labels": {"app": "s", "wanted": "x"}}, "spec": {
            "nodeSelector": {"k": "v"},
            "domain": {"cpu": {"sockets": 2, "cores": 1}, "memory": {"guest": "2048Mi"}, "firmware": {"bootloader": {"bios": {}}},
                "devices": {"interfaces": [{"name": "net-0", "macAddress": "02:1"}, {"name": "net-1", "macAddress": "02:2"}]}},
            "networks": [{"name": "net-0", "pod": {}}, second],
            "volumes": [{"name": "vol-0", "persistentVolumeClaim": {"claimName": "new"}}]}}}});
        let version = MtvVersion::parse("2.11").unwrap();
        let settings = std::collections::BTreeMap::new();
        Openshift.shape(&Shape { version, ocp_version: "4.20", settings: &settings }, &vm, &mut machine);
        machine["spec"]["template"].clone()
    }

    #[test]
    fn the_sources_template_replaces_everything_but_claims_and_networks() {
        let template = shaped(json!({"name": "net-1", "multus": {"networkName": "dst/other"}}));
        assert_eq!(template["metadata"]["labels"], json!({"own": "label"}));
        assert!(template["spec"].get("nodeSelector").is_none());
        let volumes = &template["spec"]["volumes"];
        assert_eq!(volumes[0], json!({"name": "root", "dataVolume": {"name": "new"}}));
        assert_eq!(volumes[1]["cloudInitNoCloud"]["userData"], "x");
        assert_eq!(template["spec"]["networks"][1], json!({"name": "b", "multus": {"networkName": "dst/other"}}));
        assert_eq!(template["spec"]["domain"]["devices"]["interfaces"][1]["macAddress"], "02:2");
    }

    #[test]
    fn an_interface_whose_network_changes_its_type_is_dropped() {
        let template = shaped(json!({"name": "net-1", "pod": {}}));
        assert_eq!(template["spec"]["networks"].as_array().unwrap().len(), 1);
        assert_eq!(template["spec"]["domain"]["devices"]["interfaces"].as_array().unwrap().len(), 1);
    }
}
