//! Cloning: snapshots → volumes in boot order → ports → server; an image first where the source
//! boots from one. The source is never stopped or changed.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::OpenstackDriver;
use super::catalogue::Service;
use super::describe::{Attached, text};
use super::items::{Kind, MARK_KEY, RUN_KEY};
use super::session::Call;
use crate::config::Platform;
use crate::config::scenarios::AddDisk;
use crate::ledger::{Ledger, Thing};
use crate::source::{CloneRequest, SourceDriver, SourceError, VM, VmRef};

/// From here on `createImage` answers with a body.
const CREATE_IMAGE: &str = "2.45";
/// From here on a server may have no network.
const NO_NETWORK: &str = "2.37";

/// One clone under way.
struct Making<'a> {
    driver: &'a OpenstackDriver,
    request: &'a CloneRequest<'a>,
    ledger: &'a Ledger,
    deadline: Instant,
}

impl OpenstackDriver {
    pub(super) async fn make_clone(&self, request: &CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        self.refuse(request)?;
        let deadline = Instant::now() + self.options.timeouts.clone;
        let making = Making { driver: self, request, ledger, deadline };
        let base = self.require(request.base).await?;
        let (volumes, ports) = futures::future::try_join(self.volumes_of(&base), self.ports_of(&base)).await?;
        let (image, copies, ports) =
            futures::future::try_join3(making.image(&base), making.volumes(&volumes), making.ports(&ports)).await?;
        let added = making.added_disks(volumes.len()).await?;
        let disks = block_devices(image.as_deref(), &copies, &added);
        let id = making.server(&base, image.as_deref(), &ports, disks).await?;
        Ok(VmRef { id, name: request.name.clone() })
    }

    /// What this platform has no words for.
    fn refuse(&self, request: &CloneRequest<'_>) -> Result<(), SourceError> {
        let plain = |d: &AddDisk| d.provision_type.is_none() && d.disk_mode.is_none() && d.rdm_type.is_none();
        let what = if request.warm {
            "a clone for a warm migration"
        } else if request.disk_type.is_some() {
            "choosing how disks are provisioned"
        } else if !request.add_disks.iter().all(plain) {
            "adding a disk with a provisioning, a mode or a device of its own"
        } else {
            return Ok(());
        };
        Err(SourceError::Unsupported {
            profile: self.profile.name.clone(),
            platform: Platform::Openstack,
            what: what.to_owned(),
        })
    }
}

impl Making<'_> {
    /// What proves a thing of this name to be the run's, as the metadata that people see, too.
    fn marks(&self, kind: &str, name: &str) -> Value {
        let mut marks = json!({RUN_KEY: self.request.run.as_str(), "mtv-matrix-cell": self.request.cell.slug()});
        if let Some(marker) = self.ledger.marker() {
            marks[MARK_KEY] = json!(marker.by_name(kind, name));
        }
        marks
    }

    /// An image of the root disk of a server that boots from one.
    async fn image(&self, base: &Value) -> Result<Option<String>, SourceError> {
        if !base.pointer("/image/id").is_some_and(Value::is_string) {
            return Ok(None);
        }
        let name = Kind::Image.item_name(&self.request.name, 0);
        let body = json!({"createImage": {"name": name, "metadata": self.marks(Kind::Image.name(), &name)}});
        let path = format!("/servers/{}/action", text(base, "/id"));
        let call = Call::post(Service::Compute, path, body).version(CREATE_IMAGE);
        let id = self.driver.create_item(self.request, self.ledger, Kind::Image, &name, call).await?;
        self.driver.wait_status(Kind::Image, &id, &name, "active", self.deadline).await?;
        Ok(Some(id))
    }

    /// A copy of every volume, in their order.
    async fn volumes(&self, volumes: &[Attached]) -> Result<Vec<String>, SourceError> {
        let copies = volumes.iter().enumerate().map(|(n, attached)| self.volume(n, attached));
        futures::future::try_join_all(copies).await
    }

    async fn volume(&self, n: usize, of: &Attached) -> Result<String, SourceError> {
        let (driver, deadline) = (self.driver, self.deadline);
        let name = Kind::Snapshot.item_name(&self.request.name, n);
        let marks = self.marks(Kind::Snapshot.name(), &name);
        let body = json!({"snapshot": {"volume_id": of.id(), "name": name, "force": true, "metadata": marks}});
        let call = Call::post(Service::Volume, "/snapshots", body);
        let snapshot = driver.create_item(self.request, self.ledger, Kind::Snapshot, &name, call).await?;
        driver.wait_status(Kind::Snapshot, &snapshot, &name, "available", deadline).await?;

        let name = Kind::Volume.item_name(&self.request.name, n);
        let mut volume =
            json!({"name": name, "snapshot_id": snapshot, "metadata": self.marks(Kind::Volume.name(), &name)});
        let own = text(&of.volume, "/volume_type");
        if let Some(type_) = self.request.target_storage.or(Some(own).filter(|t| !t.is_empty())) {
            volume["volume_type"] = json!(type_);
        }
        let call = Call::post(Service::Volume, "/volumes", json!({"volume": volume}));
        let id = driver.create_item(self.request, self.ledger, Kind::Volume, &name, call).await?;
        driver.wait_status(Kind::Volume, &id, &name, "available", deadline).await?;
        Ok(id)
    }

    /// Empty volumes that the scenario adds.
    async fn added_disks(&self, first: usize) -> Result<Vec<String>, SourceError> {
        let mut ids = Vec::new();
        for (n, disk) in self.request.add_disks.iter().enumerate() {
            let name = Kind::Volume.item_name(&self.request.name, first + n);
            let size = disk.size_gb.filter(|gib| *gib > 0).ok_or_else(|| {
                self.driver.session.refused(format!("create volume {name}"), "a disk to add has no size_gb")
            })?;
            let mut volume = json!({"name": name, "size": size, "metadata": self.marks(Kind::Volume.name(), &name)});
            if let Some(type_) = disk.datastore_id.as_deref().or(self.request.target_storage) {
                volume["volume_type"] = json!(type_);
            }
            let call = Call::post(Service::Volume, "/volumes", json!({"volume": volume}));
            let id = self.driver.create_item(self.request, self.ledger, Kind::Volume, &name, call).await?;
            self.driver.wait_status(Kind::Volume, &id, &name, "available", self.deadline).await?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// A port for each of the source's, on the same network and subnets, with a MAC of its own. One
    /// after the other: their age tells their order.
    async fn ports(&self, ports: &[Value]) -> Result<Vec<String>, SourceError> {
        let mut ids = Vec::new();
        for (n, of) in ports.iter().enumerate() {
            let name = Kind::Port.item_name(&self.request.name, n);
            let mut port = port(&name, of);
            // A port has no metadata; its description is the place.
            if let Some(marker) = self.ledger.marker() {
                port["description"] = json!(marker.note(self.request.cell, &marker.by_name(Kind::Port.name(), &name)));
            }
            let call = Call::post(Service::Network, "/ports", json!({"port": port}));
            ids.push(self.driver.create_item(self.request, self.ledger, Kind::Port, &name, call).await?);
        }
        Ok(ids)
    }

    /// The server itself, stopped again once it runs: Nova makes no server that is off.
    async fn server(
        &self,
        base: &Value,
        image: Option<&str>,
        ports: &[String],
        disks: Vec<Value>,
    ) -> Result<String, SourceError> {
        let (driver, name) = (self.driver, &self.request.name);
        let what = format!("clone {} to {name}", self.request.base);
        let networks =
            if ports.is_empty() { json!("none") } else { ports.iter().map(|port| json!({"port": port})).collect() };
        let mut server = json!({
            "name": name, "flavorRef": text(base, "/flavor/id"), "networks": networks, "metadata": self.marks(VM, name),
        });
        if let Some(image) = image {
            server["imageRef"] = json!(image);
        }
        if !disks.is_empty() {
            server["block_device_mapping_v2"] = Value::Array(disks);
        }
        if text(base, "/config_drive") == "True" {
            server["config_drive"] = json!(true);
        }
        let instance = driver.instance().await?;
        let entry = self.ledger.intent(
            Some(self.request.cell),
            Thing::SourceVm {
                profile: driver.profile.name.clone(),
                platform: Platform::Openstack.name().to_owned(),
                name: name.clone(),
                id: None,
                instance,
            },
        )?;
        let mut call = Call::post(Service::Compute, "/servers", json!({"server": server}));
        if ports.is_empty() {
            call = call.version(NO_NETWORK);
        }
        let id = match driver.session.call(call).await {
            Ok(answer) => text(&answer.body, "/server/id").to_owned(),
            // The answer was lost, the server may be there: looked for, never asked for twice.
            Err(error) if error.is_in_doubt() => {
                let what = format!("server {name} to appear");
                let appearing = driver.appearing(&what, || async {
                    let found = driver.find_server(name).await?;
                    Ok(found.map(|server| text(&server, "/id").to_owned()))
                });
                match appearing.await? {
                    Some(id) => id,
                    None => return Err(driver.session.failed(&what, error)),
                }
            }
            Err(error) => return Err(driver.session.failed(&what, error)),
        };
        let vm = VmRef { id, name: name.clone() };
        driver.wait_server(&vm, "ACTIVE", self.deadline).await?;
        driver.stop(&vm).await?;
        driver.wait_server(&vm, "SHUTOFF", self.deadline).await?;
        self.ledger.done(entry, Some(vm.id.clone()))?;
        self.mark_by_id(&vm).await;
        Ok(vm.id)
    }

    /// Binds the server's mark to its id, so that a copy of it proves nothing.
    async fn mark_by_id(&self, vm: &VmRef) {
        let Some(marker) = self.ledger.marker() else { return };
        let body = json!({"metadata": {MARK_KEY: marker.by_id(VM, &vm.id)}});
        let call = Call::post(Service::Compute, format!("/servers/{}/metadata", vm.id), body);
        if let Err(error) = self.driver.session.call(call).await {
            let error = self.driver.session.failed(format!("mark {}", vm.name), error);
            tracing::warn!(vm = vm.name, %error, "its mark holds its name alone");
        }
    }
}

fn port(name: &str, of: &Value) -> Value {
    let mut port = json!({"name": name, "network_id": text(of, "/network_id"), "admin_state_up": true});
    let subnets: Vec<Value> = of
        .get("fixed_ips")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|fixed| json!({"subnet_id": text(fixed, "/subnet_id")}))
        .collect();
    if !subnets.is_empty() {
        port["fixed_ips"] = Value::Array(subnets);
    }
    // Asked for only where it is not the default, because some settings are for owners alone.
    if of.get("port_security_enabled").and_then(Value::as_bool) == Some(false) {
        port["port_security_enabled"] = json!(false);
    } else if let Some(groups) = of.get("security_groups").filter(|g| g.is_array()) {
        port["security_groups"] = groups.clone();
    }
    match text(of, "/binding:vnic_type") {
        "" | "normal" => {}
        other => port["binding:vnic_type"] = json!(other),
    }
    port
}

/// The disks in boot order, the first with boot index 0. All go with the server.
fn block_devices(image: Option<&str>, volumes: &[String], added: &[String]) -> Vec<Value> {
    let volume = |index: Value, id: &String| {
        json!({
            "boot_index": index, "uuid": id, "source_type": "volume", "destination_type": "volume",
            "delete_on_termination": true,
        })
    };
    let mut devices = Vec::new();
    let mut rest = volumes.iter().chain(added);
    match image {
        // Without further volumes the image alone says it.
        Some(_) if volumes.is_empty() && added.is_empty() => return devices,
        Some(image) => devices.push(json!({
            "boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "local",
            "delete_on_termination": true,
        })),
        None => devices.extend(rest.next().map(|id| volume(json!(0), id))),
    }
    devices.extend(rest.map(|id| volume(Value::Null, id)));
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(devices: &[Value]) -> Vec<(String, Value)> {
        devices.iter().map(|d| (text(d, "/uuid").to_owned(), d["boot_index"].clone())).collect()
    }

    #[test]
    fn exactly_one_disk_boots() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let added = ["c".to_owned()];
        assert_eq!(
            indexes(&block_devices(None, &ids, &added)),
            [("a".to_owned(), json!(0)), ("b".to_owned(), Value::Null), ("c".to_owned(), Value::Null)]
        );
        assert_eq!(
            indexes(&block_devices(Some("img"), &ids[..1], &[])),
            [("img".to_owned(), json!(0)), ("a".to_owned(), Value::Null)]
        );
        assert!(block_devices(Some("img"), &[], &[]).is_empty());
    }

    #[test]
    fn a_port_is_copied_without_its_addresses() {
        let of = json!({
            "network_id": "n", "mac_address": "fa:16:3e:00:00:01", "security_groups": ["g"], "binding:vnic_type": "direct",
            "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.5"}], "port_security_enabled": true,
        });
        assert_eq!(
            port("c-nic-0", &of),
            json!({
                "name": "c-nic-0", "network_id": "n", "admin_state_up": true, "fixed_ips": [{"subnet_id": "s"}],
                "security_groups": ["g"], "binding:vnic_type": "direct",
            })
        );
    }
}
