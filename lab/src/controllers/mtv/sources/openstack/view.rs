//! OpenStack's answers as MTV's inventory holds and shows them: key names and casing as Forklift's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::inventory::model::{InvDatastore, InvDisk, InvNetwork, InvNic, InvVm, Inventory};
use crate::inventory::own::{OpenstackVm, OwnDisk, OwnVm};

const GLANCE: &str = "glance";

/// What the services answered.
#[derive(Default)]
pub(super) struct Raw {
    pub lists: BTreeMap<&'static str, Vec<Value>>,
    /// By flavor.
    pub extra_specs: BTreeMap<String, Value>,
    /// Id and name.
    pub project: (String, String),
    pub region: String,
    pub revision: u64,
    /// Servers that were judged before their volumes were known.
    pub early: BTreeSet<String>,
}

impl Raw {
    pub(super) fn list(&self, key: &str) -> &[Value] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    fn find(&self, key: &str, id: &str) -> Option<&Value> {
        self.list(key).iter().find(|item| text(item, "/id") == id)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What all resources begin with.
fn base(raw: &Raw, item: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("id".into(), item["id"].clone());
    out.insert("revision".into(), json!(raw.revision));
    out.insert("name".into(), json!(text(item, "/name")));
    out
}

/// Copies of `(key in the inventory, key on the wire)`. What is not there is an empty text; times end in `Z`.
fn resource(raw: &Raw, item: &Value, keys: &[(&str, &str)]) -> Value {
    let mut out = base(raw, item);
    for (key, wire) in keys {
        let told = match &item[*wire] {
            Value::Null => json!(""),
            Value::String(time) if key.ends_with("At") && !time.ends_with('Z') => json!(format!("{time}Z")),
            other => other.clone(),
        };
        out.insert((*key).to_owned(), told);
    }
    Value::Object(out)
}

/// Keys that are left out where they are empty.
const OMITTED: &[&str] = &[
    "parentRegionID",
    "extraSpecs",
    "subnets",
    "availabilityZoneHints",
    "tags",
    "gatewayIP",
    "dnsNameservers",
    "serviceTypes",
    "allocationPools",
    "hostRoutes",
    "ipv6AddressMode",
    "ipv6RAMode",
    "subnetpoolID",
    "hostID",
    "imageID",
    "accessIPv4",
    "accessIPv6",
    "metadata",
    "keyName",
    "adminPass",
    "securityGroups",
    "serverGroups",
    "snapshotID",
    "sourceVolID",
    "backupID",
    "consistencygroupID",
    "volumeImageMetadata",
];

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// As Forklift's `omitempty` has it. A description is left out of volumes and subnets alone; an image keeps all.
fn tidy(collection: &str, mut item: Value) -> Value {
    let described = !matches!(collection, "volumes" | "subnets");
    if let Some(fields) = item.as_object_mut().filter(|_| collection != "images") {
        fields.retain(|key, value| {
            !is_empty(value) || !(OMITTED.contains(&key.as_str()) || (key == "description" && !described))
        });
    }
    item
}

pub(super) fn volume_ids(server: &Value) -> Vec<&str> {
    let attached = server["os-extended-volumes:volumes_attached"].as_array();
    attached.into_iter().flatten().map(|v| text(v, "/id")).collect()
}

/// The error of a judgement that came too early, which is its concern.
fn concerns(raw: &Raw, server: &str) -> Value {
    let error = "sql: no rows in result set";
    if raw.early.contains(server) {
        json!([{"id": "", "category": "Critical", "label": error, "assessment": error}])
    } else {
        json!([])
    }
}

fn vm(raw: &Raw, server: &Value) -> Value {
    let mut out = base(raw, server);
    out.insert("path".into(), json!(format!("{}/{}", raw.project.1, text(server, "/name"))));
    let attached: Vec<Value> = volume_ids(server).into_iter().map(|id| json!({"ID": id})).collect();
    let fault = &server["fault"];
    let fields = json!({
        "tenantID": server["tenant_id"], "status": server["status"], "hostID": server["hostId"],
        "revisionValidated": raw.revision, "imageID": text(server, "/image/id"), "flavorID": text(server, "/flavor/id"),
        "addresses": server["addresses"], "concerns": concerns(raw, text(server, "/id")), "userID": server["user_id"], "updated": server["updated"],
        "created": server["created"], "progress": server["progress"], "accessIPv4": "", "accessIPv6": "",
        "metadata": server["metadata"], "keyName": text(server, "/key_name"), "adminPass": "",
        "securityGroups": server["security_groups"], "tags": null, "serverGroups": null,
        "fault": {
            "Code": fault["code"].as_i64().unwrap_or_default(),
            "Created": fault["created"].as_str().unwrap_or("0001-01-01T00:00:00Z"), "Details": "",
            "Message": text(fault, "/message"),
        },
    });
    out.extend(fields.as_object().cloned().unwrap_or_default());
    if !attached.is_empty() {
        out.insert("attachedVolumes".into(), Value::Array(attached));
    }
    Value::Object(out)
}

fn volume(raw: &Raw, item: &Value) -> Value {
    let mut out = resource(
        raw,
        item,
        &[
            ("description", "description"),
            ("status", "status"),
            ("size", "size"),
            ("availabilityZone", "availability_zone"),
            ("createdAt", "created_at"),
            ("updatedAt", "updated_at"),
            ("volumeType", "volume_type"),
            ("snapshotID", "snapshot_id"),
            ("sourceVolID", "source_volid"),
            ("metadata", "metadata"),
            ("userID", "user_id"),
            ("bootable", "bootable"),
            ("encrypted", "encrypted"),
            ("replicationStatus", "replication_status"),
            ("consistencygroupID", "consistencygroup_id"),
            ("multiattach", "multiattach"),
            ("volumeImageMetadata", "volume_image_metadata"),
        ],
    );
    let attachments = item["attachments"].as_array().into_iter().flatten();
    // Only the id survives MTV's own copy of an attachment.
    out["attachments"] = attachments
        .map(|a| {
            json!({
                "AttachedAt": "0001-01-01T00:00:00Z", "AttachmentID": "", "Device": "", "HostName": "", "ID": a["id"],
                "ServerID": "", "VolumeID": "",
            })
        })
        .collect();
    out["backupID"] = Value::Null;
    out
}

fn image(raw: &Raw, item: &Value) -> Value {
    const OWN: &[&str] = &[
        "id",
        "name",
        "status",
        "visibility",
        "owner",
        "size",
        "virtual_size",
        "min_disk",
        "min_ram",
        "disk_format",
        "container_format",
        "checksum",
        "os_hidden",
        "protected",
        "tags",
        "created_at",
        "updated_at",
        "file",
        "schema",
        "self",
    ];
    let mut out = resource(
        raw,
        item,
        &[
            ("status", "status"),
            ("tags", "tags"),
            ("containerFormat", "container_format"),
            ("diskFormat", "disk_format"),
            ("minDisk", "min_disk"),
            ("minRam", "min_ram"),
            ("owner", "owner"),
            ("protected", "protected"),
            ("visibility", "visibility"),
            ("osHidden", "os_hidden"),
            ("checksum", "checksum"),
            ("sizeBytes", "size"),
            ("createdAt", "created_at"),
            ("updatedAt", "updated_at"),
            ("file", "file"),
            ("schema", "schema"),
            ("virtualSize", "virtual_size"),
        ],
    );
    let custom = item.as_object().into_iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str()));
    out["properties"] = Value::Object(custom.map(|(k, v)| (k.clone(), v.clone())).collect());
    out["metadata"] = json!({});
    out["imageImportMethods"] = json!([]);
    out["imageStoreIDs"] = json!([]);
    out
}

fn collections(raw: &Raw) -> BTreeMap<String, Vec<Value>> {
    let all = |key: &str, make: &dyn Fn(&Value) -> Value| raw.list(key).iter().map(make).collect::<Vec<Value>>();
    let subnet = |item: &Value| {
        let mut out = resource(
            raw,
            item,
            &[
                ("networkID", "network_id"),
                ("ipVersion", "ip_version"),
                ("cidr", "cidr"),
                ("gatewayIP", "gateway_ip"),
                ("dnsNameservers", "dns_nameservers"),
                ("serviceTypes", "service_types"),
                ("enableDHCP", "enable_dhcp"),
                ("tenantID", "tenant_id"),
                ("projectID", "project_id"),
                ("ipv6AddressMode", "ipv6_address_mode"),
                ("ipv6RAMode", "ipv6_ra_mode"),
                ("subnetpoolID", "subnetpool_id"),
                ("tags", "tags"),
                ("revisionNumber", "revision_number"),
                ("description", "description"),
            ],
        );
        let pools = item["allocation_pools"].as_array().into_iter().flatten();
        out["allocationPools"] = pools.map(|p| json!({"Start": p["start"], "End": p["end"]})).collect();
        let routes = item["host_routes"].as_array().into_iter().flatten();
        out["hostRoutes"] =
            routes.map(|r| json!({"DestinationCIDR": r["destination"], "NextHop": r["nexthop"]})).collect();
        out
    };
    let network = |item: &Value| {
        resource(
            raw,
            item,
            &[
                ("description", "description"),
                ("adminStateUp", "admin_state_up"),
                ("status", "status"),
                ("subnets", "subnets"),
                ("tenantID", "tenant_id"),
                ("updatedAt", "updated_at"),
                ("createdAt", "created_at"),
                ("projectID", "project_id"),
                ("shared", "shared"),
                ("availabilityZoneHints", "availability_zone_hints"),
                ("tags", "tags"),
                ("revisionNumber", "revision_number"),
            ],
        )
    };
    let flavor = |item: &Value| {
        let mut out = resource(
            raw,
            item,
            &[
                ("description", "description"),
                ("disk", "disk"),
                ("ram", "ram"),
                ("vcpus", "vcpus"),
                ("isPublic", "os-flavor-access:is_public"),
                ("ephemeral", "OS-FLV-EXT-DATA:ephemeral"),
            ],
        );
        out["rxtxFactor"] = item["rxtx_factor"].clone();
        out["swap"] = json!(item["swap"].as_u64().unwrap_or_default());
        out["extraSpecs"] = raw.extra_specs.get(text(item, "/id")).cloned().unwrap_or_default();
        out
    };
    let kind = |item: &Value| {
        let mut out = resource(
            raw,
            item,
            &[
                ("description", "description"),
                ("extraSpecs", "extra_specs"),
                ("isPublic", "is_public"),
                ("qosSpecsID", "qos_specs_id"),
            ],
        );
        out["publicAccess"] = item["os-volume-type-access:is_public"].clone();
        out
    };
    let snapshot = |item: &Value| {
        resource(
            raw,
            item,
            &[
                ("createdAt", "created_at"),
                ("updatedAt", "updated_at"),
                ("description", "description"),
                ("volumeID", "volume_id"),
                ("status", "status"),
                ("size", "size"),
                ("metadata", "metadata"),
            ],
        )
    };
    let project = json!({
        "id": raw.project.0, "revision": 1, "path": raw.project.1, "name": raw.project.1, "isDomain": false,
        "description": "", "domainID": "default", "enabled": true, "parentID": "default",
    });
    let region = json!({
        "id": raw.region, "revision": 1, "name": raw.region, "description": "",
    });
    BTreeMap::from([
        ("vms".to_owned(), all("servers", &|s| vm(raw, s))),
        ("volumes".to_owned(), all("volumes", &|v| volume(raw, v))),
        ("volumetypes".to_owned(), all("volume_types", &kind)),
        ("networks".to_owned(), all("networks", &network)),
        ("subnets".to_owned(), all("subnets", &subnet)),
        ("flavors".to_owned(), all("flavors", &flavor)),
        ("images".to_owned(), all("images", &|i| image(raw, i))),
        ("snapshots".to_owned(), all("snapshots", &snapshot)),
        ("projects".to_owned(), vec![project]),
        ("regions".to_owned(), vec![region]),
    ])
}

pub(super) fn inventory(raw: &Raw) -> Inventory {
    let network = |n: &Value| InvNetwork {
        id: text(n, "/id").to_owned(),
        name: text(n, "/name").to_owned(),
        kind: String::new(),
        key: None,
    };
    let store = |id: &str, name: &str| InvDatastore {
        id: id.to_owned(),
        name: name.to_owned(),
        capacity: 0,
        free: 0,
        kind: String::new(),
    };
    let types = raw.list("volume_types").iter().map(|t| store(text(t, "/id"), text(t, "/name")));
    Inventory {
        vms: raw.list("servers").iter().filter_map(|s| inv_vm(raw, s)).map(Arc::new).collect(),
        networks: raw.list("networks").iter().map(network).collect(),
        // Servers that boot from an image have their root disk in no volume.
        datastores: types.chain([store(GLANCE, GLANCE)]).collect(),
        collections: collections(raw)
            .into_iter()
            .map(|(name, items)| {
                let items = items.into_iter().map(|item| Arc::new(tidy(&name, item))).collect();
                (name, items)
            })
            .collect(),
        ..Inventory::default()
    }
}

/// `None` while flavor or volumes of the server are not known yet.
fn inv_vm(raw: &Raw, server: &Value) -> Option<InvVm> {
    let flavor = raw.find("flavors", text(server, "/flavor/id"))?;
    let volumes: Vec<&Value> =
        volume_ids(server).into_iter().map(|id| raw.find("volumes", id)).collect::<Option<_>>()?;
    let image_id = text(server, "/image/id");
    let image = raw.find("images", image_id);
    let of_volume = volumes.first().map(|v| &v["volume_image_metadata"]);
    let property = |key: &str| -> &str {
        image.and_then(|i| i[key].as_str()).or_else(|| of_volume.and_then(|m| m[key].as_str())).unwrap_or_default()
    };
    let specs = raw.extra_specs.get(text(flavor, "/id"));
    let count = |of_flavor: &str, of_image: &str| -> Option<u32> {
        let said = specs.and_then(|s| s[of_flavor].as_str()).unwrap_or(property(of_image));
        said.parse().ok().filter(|n| *n > 0)
    };
    let vcpus = u32::try_from(flavor["vcpus"].as_u64()?).ok()?;
    let cores = count("hw:cpu_cores", "hw_cpu_cores").unwrap_or(1);
    let threads = count("hw:cpu_threads", "hw_cpu_threads").unwrap_or(1);
    let sockets = count("hw:cpu_sockets", "hw_cpu_sockets").unwrap_or((vcpus / (cores * threads)).max(1));
    let mut disks = Vec::new();
    let disk = |source: &str, store: &str, gib: u64, own: OwnDisk| InvDisk {
        source: source.to_owned(),
        storage_id: store.to_owned(),
        capacity_bytes: gib << 30,
        own,
    };
    if !image_id.is_empty() {
        disks.push(disk(image_id, GLANCE, flavor["disk"].as_u64().unwrap_or_default(), OwnDisk::Image));
    }
    for volume in &volumes {
        let kind = text(volume, "/volume_type");
        let store = raw.list("volume_types").iter().find(|t| text(t, "/name") == kind).map_or("", |t| text(t, "/id"));
        disks.push(disk(text(volume, "/id"), store, volume["size"].as_u64().unwrap_or_default(), OwnDisk::Nothing));
    }
    let windows = property("os_type") == "windows";
    Some(InvVm {
        id: text(server, "/id").to_owned(),
        name: text(server, "/name").to_owned(),
        power_on: server["status"] == "ACTIVE",
        firmware_efi: property("hw_firmware_type") == "uefi",
        // Secure boot is never carried over.
        cpu_count: sockets * cores,
        cores_per_socket: cores,
        memory_mb: flavor["ram"].as_u64()?,
        guest_id: property("os_distro").to_owned(),
        guest_name: if windows { "windows" } else { "linux" }.to_owned(),
        nics: nics(raw, server),
        disks,
        own: OwnVm::Openstack(OpenstackVm {
            critical_concerns: raw.early.contains(text(server, "/id")),
            image_id: image_id.to_owned(),
            threads,
            // As `mapDisks` has it: KubeVirt's q35 machines have no IDE.
            disk_bus: match property("hw_disk_bus") {
                "ide" => "sata",
                "scsi" => "scsi",
                _ => "virtio",
            }
            .to_owned(),
        }),
        ..InvVm::default()
    })
}

/// A NIC for every MAC under `addresses`, whose keys are network *names*.
fn nics(raw: &Raw, server: &Value) -> Vec<InvNic> {
    let mut nics: Vec<InvNic> = Vec::new();
    for (name, addresses) in server["addresses"].as_object().into_iter().flatten() {
        let network = raw.list("networks").iter().find(|n| text(n, "/name") == name).map_or("", |n| text(n, "/id"));
        for address in addresses.as_array().into_iter().flatten() {
            let mac = text(address, "/OS-EXT-IPS-MAC:mac_addr").to_lowercase();
            if !nics.iter().any(|n| n.mac == mac) {
                nics.push(InvNic { mac, network_id: network.to_owned(), vsphere: None });
            }
        }
    }
    nics
}
