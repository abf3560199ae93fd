//! Nova's larger works: making a server from volumes, snapshots or images, and an image of a server.

use serde_json::{Value, json};

use super::cinder;
use super::glance;
use super::model::{Attachment, Image, Next, Pending, Server, ServerNext, State, later_z, now_bare, now_z, uuid};
use super::nova::texts;
use super::wire::{Reply, Request, Service, number, text};
use super::{Cloud, times};

const HERE: Service = Service::Compute;
/// From here on a server's creation must say what networks it wants.
const NETWORKS_MANDATORY: u32 = 37;
/// From here on `createImage` answers with a body instead of `Location`.
const IMAGE_IN_BODY: u32 = 45;

type Refused = Box<Reply>;

fn bad(message: impl AsRef<str>) -> Refused {
    Box::new(HERE.error(400, message.as_ref()))
}

/// Attaches a volume under the next device name.
pub fn attach(state: &mut State, server: &str, volume: &str, delete_on_termination: bool) -> Result<(), Refused> {
    let Some(found) = state.volumes.get_mut(volume) else {
        return Err(Box::new(HERE.error(404, &format!("Volume {volume} could not be found."))));
    };
    if found.status != "available" {
        return Err(bad(format!(
            "Invalid volume: volume {volume} status must be 'available'. Currently in '{}'",
            found.status
        )));
    }
    let Some(to) = state.servers.get_mut(server) else {
        return Err(Box::new(HERE.missing("Instance", server)));
    };
    let taken = to.volumes.len() + usize::from(to.image.is_some());
    let letter = ('a'..='z').nth(taken).unwrap_or('z');
    let attachment =
        Attachment { id: uuid(), volume: volume.to_owned(), device: format!("/dev/vd{letter}"), delete_on_termination };
    found.status = "in-use";
    found.updated = now_bare();
    found.attached = Some((server.to_owned(), attachment.device.clone(), attachment.id.clone(), now_bare()));
    to.volumes.push(attachment);
    to.updated = later_z(&to.updated);
    Ok(())
}

/// One disk of the server to be made.
struct Disk {
    /// Nothing: the boot image itself, local.
    volume: Option<String>,
    boot: Option<i64>,
    delete_on_termination: bool,
}

/// `POST /servers`.
pub fn create(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let wanted = &request.body["server"];
    // All or nothing: what was made before a refusal is not kept.
    let before = state.clone();
    match try_create(cloud, state, request, wanted) {
        Ok(id) => {
            let body = json!({"server": {
                "id": id, "links": [], "OS-DCF:diskConfig": "MANUAL", "security_groups": [{"name": "default"}],
                "adminPass": "k8Xv2Lq9Zr1m",
            }});
            Reply::json(202, &body).with("location", format!("{}/compute/v2.1/servers/{id}", cloud.base))
        }
        Err(reply) => {
            *state = before;
            *reply
        }
    }
}

fn try_create(cloud: &Cloud, state: &mut State, request: &Request<'_>, wanted: &Value) -> Result<String, Refused> {
    let name = text(wanted, "/name");
    if name.is_empty() {
        return Err(bad("Invalid input for field/attribute server. 'name' is a required property"));
    }
    let flavor = text(wanted, "/flavorRef");
    // The SDK's cloud layer gives the flavor's URL in some versions.
    let flavor = flavor.rsplit('/').next().unwrap_or_default().to_owned();
    if state.flavor(&flavor).is_none() {
        return Err(bad(format!("Flavor {flavor} could not be found.")));
    }
    let key = wanted["key_name"].as_str().map(str::to_owned);
    if key.as_ref().is_some_and(|key| !state.keypairs.contains_key(key)) {
        return Err(bad("Invalid key_name provided."));
    }
    let id = uuid();
    let (ports, own_ports) = networks(state, request, &wanted["networks"], &id)?;
    let image = Some(text(wanted, "/imageRef")).filter(|i| !i.is_empty()).map(str::to_owned);
    let disks = disks(cloud, state, wanted, image.as_deref())?;
    let from_volume = disks.iter().any(|d| d.volume.is_some() && d.boot == Some(0));
    if from_volume == (image.is_some() && !is_volume_snapshot(state, image.as_deref())) {
        return Err(bad(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.",
        ));
    }
    let image = image.filter(|_| !from_volume);
    if let Some(image) = &image
        && state.images.get(image).is_none_or(|i| i.status != "active")
    {
        return Err(bad(format!("Image {image} is not active.")));
    }
    let guest = match &image {
        Some(image) => state.images.get(image).and_then(|i| i.guest.clone()),
        None => disks.first().and_then(|d| state.volumes.get(d.volume.as_ref()?)?.guest.clone()),
    };
    let server = Server {
        id: id.clone(),
        name: name.to_owned(),
        description: None,
        status: "BUILD",
        task: Some("spawning"),
        flavor,
        image,
        ports,
        own_ports,
        volumes: Vec::new(),
        metadata: texts(&wanted["metadata"]),
        guest,
        fault: None,
        key,
        created: now_z(),
        updated: now_z(),
        pending: Some(Pending { at: cloud.after(times::BUILD), next: ServerNext::Active }),
    };
    state.servers.insert(id.clone(), server);
    for disk in disks {
        if let Some(volume) = disk.volume {
            // Volumes that Nova makes itself are ready by the time the server is.
            if let Some(volume) = state.volumes.get_mut(&volume)
                && volume.pending.take().is_some()
            {
                volume.status = "available";
            }
            attach(state, &id, &volume, disk.delete_on_termination)?;
        }
    }
    Ok(id)
}

fn networks(
    state: &mut State,
    request: &Request<'_>,
    wanted: &Value,
    server: &str,
) -> Result<(Vec<String>, Vec<String>), Refused> {
    let (mut ports, mut own) = (Vec::new(), Vec::new());
    let list = match wanted {
        Value::Array(list) => list.clone(),
        Value::String(word) if word == "none" => return Ok((ports, own)),
        Value::Null if request.version >= NETWORKS_MANDATORY => {
            return Err(bad("Invalid input for field/attribute server. 'networks' is a required property"));
        }
        _ => state.networks.first().map(|n| json!({"uuid": n.id})).into_iter().collect(),
    };
    for one in list {
        let port = match text(&one, "/port") {
            "" => {
                let network = text(&one, "/uuid");
                if state.network(network).is_none() {
                    return Err(bad(format!("Network {network} could not be found.")));
                }
                let port = state.add_port("", network, None, &[]);
                own.push(port.clone());
                port
            }
            given => given.to_owned(),
        };
        match state.ports.get_mut(&port) {
            None => return Err(bad(format!("Port id {port} could not be found."))),
            Some(found) if !found.device.is_empty() => {
                return Err(Box::new(HERE.error(409, &format!("Port {port} is still in use."))));
            }
            Some(found) => found.device = server.to_owned(),
        }
        ports.push(port);
    }
    Ok((ports, own))
}

/// Whether an image is only a list of volume snapshots, as `createImage` makes of a server that boots
/// from a volume.
fn is_volume_snapshot(state: &State, image: Option<&str>) -> bool {
    image.and_then(|i| state.images.get(i)).is_some_and(|i| i.properties.contains_key("block_device_mapping"))
}

fn disks(cloud: &Cloud, state: &mut State, wanted: &Value, image: Option<&str>) -> Result<Vec<Disk>, Refused> {
    let mut mapping = wanted["block_device_mapping_v2"].as_array().cloned().unwrap_or_default();
    if is_volume_snapshot(state, image)
        && let Some(stored) = image.and_then(|i| state.images.get(i)?.properties.get("block_device_mapping"))
    {
        mapping = serde_json::from_str(stored).unwrap_or_default();
    }
    let mut disks = Vec::new();
    for one in &mapping {
        let boot = one.get("boot_index").and_then(number).filter(|index| *index >= 0);
        let delete_on_termination = one["delete_on_termination"].as_bool().unwrap_or(false);
        let source =
            [text(one, "/uuid"), text(one, "/snapshot_id")].into_iter().find(|s| !s.is_empty()).unwrap_or_default();
        let size = one.get("volume_size").and_then(number).and_then(|n| u64::try_from(n).ok());
        let made = match (text(one, "/source_type"), text(one, "/destination_type")) {
            ("image", "local") => None,
            ("volume", _) => Some(source.to_owned()),
            ("snapshot", _) => Some(cinder::from_snapshot(cloud, state, "", source, size)?),
            ("image", _) => Some(cinder::from_image(cloud, state, "", source, size)?),
            ("blank", _) => Some(cinder::blank(cloud, state, "", size, None)?),
            (other, _) => return Err(bad(format!("Block Device Mapping is Invalid: source_type {other}"))),
        };
        disks.push(Disk { volume: made, boot, delete_on_termination });
    }
    if !disks.is_empty() && disks.iter().filter(|d| d.boot == Some(0)).count() != 1 {
        return Err(bad(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.",
        ));
    }
    // The one that boots becomes the first device.
    disks.sort_by_key(|d| d.boot.unwrap_or(i64::MAX));
    Ok(disks)
}

/// `createImage`. Of a server on volumes it is an empty image and a snapshot of each volume, which
/// nobody deletes with the image.
pub fn create_image(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str, argument: &Value) -> Reply {
    let name = text(argument, "/name");
    if name.is_empty() {
        return HERE.error(400, "Invalid input for field/attribute createImage. 'name' is a required property");
    }
    let Some(server) = state.servers.get(id).cloned() else { return HERE.missing("Instance", id) };
    if !matches!(server.status, "ACTIVE" | "SHUTOFF") {
        return HERE.error(409, &format!("Cannot 'createImage' instance {id} while it is in vm_state building"));
    }
    let base = server.image.as_ref().and_then(|i| state.images.get(i)).cloned();
    let mut properties = base.as_ref().map(|b| b.properties.clone()).unwrap_or_default();
    properties.extend(texts(&argument["metadata"]));
    properties.insert("instance_uuid".to_owned(), id.to_owned());
    let mut image = Image { properties, guest: server.guest.clone(), ..glance::blank(name) };
    if let Some(base) = &server.image {
        let disk = state.flavor(&server.flavor).map_or(0, |f| f.disk);
        image.properties.insert("image_type".to_owned(), "snapshot".to_owned());
        image.properties.insert("base_image_ref".to_owned(), base.clone());
        image.disk_format = "qcow2".to_owned();
        image.min_disk = disk;
        image.virtual_size = Some(disk << 30);
        image.size = Some(900 << 20);
        image.status = "queued";
        image.pending = Some(Pending { at: cloud.after(times::IMAGE), next: Next::Ready });
    } else {
        let mut mapping = Vec::new();
        for (index, attachment) in server.volumes.iter().enumerate() {
            let snapshot = cinder::snapshot_of(cloud, state, &attachment.volume, &format!("snapshot for {name}"));
            let Some(snapshot) = snapshot else { continue };
            if let Some(volume) = state.volumes.get(&attachment.volume).filter(|v| v.bootable) {
                image.properties.extend(volume.image_metadata.clone());
            }
            mapping.push(json!({
                "source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot.0, "volume_size": snapshot.1,
                "boot_index": if index == 0 { json!(0) } else { Value::Null }, "device_name": attachment.device,
                "delete_on_termination": attachment.delete_on_termination, "guest_format": null, "no_device": null,
            }));
        }
        image.properties.insert("block_device_mapping".to_owned(), Value::Array(mapping).to_string());
        image.properties.insert("bdm_v2".to_owned(), "True".to_owned());
        image.properties.insert("root_device_name".to_owned(), "/dev/vda".to_owned());
        image.size = Some(0);
        image.status = "active";
    }
    let image_id = image.id.clone();
    state.images.insert(image_id.clone(), image);
    if request.version >= IMAGE_IN_BODY {
        Reply::json(202, &json!({"image_id": image_id}))
    } else {
        Reply::empty(202).with("location", format!("{}/image/v2/images/{image_id}", cloud.base))
    }
}
