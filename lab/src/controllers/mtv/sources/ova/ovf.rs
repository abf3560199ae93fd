//! Reading an OVF document as MTV's provider server does: what is not understood is left out, what
//! is not said stays empty.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use sha2::{Digest, Sha256};

/// Kinds of hardware (`rasd:ResourceType`).
const PROCESSOR: &str = "3";
const MEMORY: &str = "4";
const ETHERNET: &str = "10";
/// Length of ids that MTV makes up.
const MADE_ID: usize = 36;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Nic {
    pub name: String,
    /// Empty where the exporter left it out.
    pub mac: String,
    pub network: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Disk {
    pub id: String,
    pub name: String,
    pub file_path: String,
    pub capacity: u64,
    pub units: String,
    pub disk_id: String,
    pub file_ref: String,
    pub format: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Network {
    pub id: String,
    pub name: String,
    pub description: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Machine {
    pub id: String,
    pub name: String,
    pub path: String,
    pub os_type: String,
    pub firmware: String,
    pub secure_boot: bool,
    pub cpus: u32,
    pub cpu_units: String,
    pub cores_per_socket: u32,
    pub memory: u64,
    pub memory_units: String,
    pub devices: Vec<String>,
    pub nics: Vec<Nic>,
    pub disks: Vec<Disk>,
    pub networks: Vec<Network>,
}

/// Bytes in a unit such as `byte * 2^20`; `default` for one that is not said or not known.
pub(super) fn unit(text: &str, default: u64) -> u64 {
    let factor = |factor: &str| match factor.split_once('^') {
        Some((base, exponent)) => base.trim().parse::<u64>().ok()?.checked_pow(exponent.trim().parse().ok()?),
        None if factor == "byte" => Some(1),
        None => factor.parse().ok(),
    };
    let product = text.split('*').map(str::trim).try_fold(1u64, |all, next| all.checked_mul(factor(next)?));
    product.unwrap_or(default)
}

/// The machines of a document; `path` is where MTV sees it.
pub(super) fn read(text: &str, path: &str) -> Result<Vec<Machine>, String> {
    let root = parse(text)?;
    if root.name != "Envelope" {
        return Err(format!("the document is a {}, not an OVF Envelope", root.name));
    }
    // Disks lie beside their descriptor.
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    let disks: Vec<Disk> =
        root.all("DiskSection/Disk").into_iter().map(|disk| read_disk(&root, disk, folder)).collect();
    let networks: Vec<Network> = root
        .all("NetworkSection/Network")
        .into_iter()
        .map(|network| Network {
            id: made_id(network.attribute("name")),
            name: network.attribute("name").to_owned(),
            description: network.text_of("Description").to_owned(),
        })
        .collect();
    let machine = |system| Machine { disks: disks.clone(), networks: networks.clone(), ..read_system(system, path) };
    Ok(root.all("VirtualSystem").into_iter().map(machine).collect())
}

fn read_disk(root: &Element, disk: &Element, folder: &str) -> Disk {
    let file_ref = disk.attribute("fileRef").to_owned();
    let files = root.all("References/File");
    let file = files.into_iter().find(|file| file.attribute("id") == file_ref);
    let name = file.map(|file| file.attribute("href")).unwrap_or_default().to_owned();
    Disk {
        id: made_id(&format!("{folder}/{name}")),
        name,
        file_path: folder.to_owned(),
        capacity: disk.attribute("capacity").parse().unwrap_or_default(),
        units: disk.attribute("capacityAllocationUnits").to_owned(),
        disk_id: disk.attribute("diskId").to_owned(),
        file_ref,
        format: disk.attribute("format").to_owned(),
    }
}

fn read_system(system: &Element, path: &str) -> Machine {
    let own = system.attribute("id");
    let id = if uuid::Uuid::parse_str(own).is_ok() { own.to_owned() } else { made_id(&format!("{path}/{own}")) };
    let systems = system.all("OperatingSystemSection");
    let mut machine = Machine {
        id,
        name: system.text_of("Name").to_owned(),
        path: path.to_owned(),
        os_type: systems.first().map(|os| os.attribute("osType")).unwrap_or_default().to_owned(),
        ..Machine::default()
    };
    for item in system.all("VirtualHardwareSection/Item") {
        let quantity = item.text_of("VirtualQuantity");
        let units = item.text_of("AllocationUnits").to_owned();
        match item.text_of("ResourceType") {
            PROCESSOR => {
                machine.cpus = quantity.parse().unwrap_or_default();
                machine.cpu_units = units;
                machine.cores_per_socket = item.text_of("CoresPerSocket").parse().unwrap_or_default();
            }
            MEMORY => {
                machine.memory = quantity.parse().unwrap_or_default();
                machine.memory_units = units;
            }
            ETHERNET => machine.nics.push(Nic {
                name: item.text_of("ElementName").to_owned(),
                mac: item.text_of("Address").to_owned(),
                network: item.text_of("Connection").to_owned(),
            }),
            _ => {
                let name = item.text_of("ElementName");
                let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_whitespace());
                machine.devices.push(if kind.is_empty() { "Unknown" } else { kind }.to_owned());
            }
        }
    }
    for config in system.all("VirtualHardwareSection/Config") {
        match config.attribute("key") {
            "firmware" => machine.firmware = config.attribute("value").to_owned(),
            "bootOptions.efiSecureBootEnabled" => machine.secure_boot = config.attribute("value") == "true",
            _ => {}
        }
    }
    machine
}

/// The first characters of a hash, where the document brings no id of its own.
fn made_id(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..MADE_ID].to_owned()
}

/// An element by local names.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
    /// Every element at a path, in order.
    fn all(&self, path: &str) -> Vec<&Element> {
        path.split('/').fold(vec![self], |found, name| {
            found.into_iter().flat_map(|e| e.children.iter().filter(|c| c.name == name)).collect()
        })
    }
    /// Text of the first child of that name.
    fn text_of(&self, name: &str) -> &str {
        self.children.iter().find(|c| c.name == name).map_or("", |c| c.text.trim())
    }
}

fn local(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn begin(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element { name: local(start.local_name().as_ref()), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        let value = quick_xml::escape::unescape(&value).map_err(|e| e.to_string())?.into_owned();
        element.attributes.push((local(attribute.key.local_name().as_ref()), value));
    }
    Ok(element)
}

fn parse(text: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    loop {
        let closed = match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(start) => {
                open.push(begin(&start)?);
                None
            }
            Event::Empty(start) => Some(begin(&start)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                let text = text.xml10_content().map_err(|e| e.to_string())?;
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text);
                }
                None
            }
            Event::Eof => return Err("the document ends too early".to_owned()),
            _ => None,
        };
        if let Some(element) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Ok(element),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_document_is_read_with_what_it_has() {
        let text = r#"<?xml version="1.0"?><Envelope xmlns:ovf="x">
            <References><File ovf:href="a.vmdk" ovf:id="f2"/><File ovf:href="b &amp; c.vmdk" ovf:id="f1"/></References>
            <DiskSection><Disk ovf:capacity="17179869184" ovf:diskId="d1" ovf:fileRef="f1"/></DiskSection>
            <VirtualSystem ovf:id="legacy"><Name>old one</Name><VirtualHardwareSection>
              <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
              <Item><rasd:ElementName>Hard Disk 1</rasd:ElementName><rasd:ResourceType>17</rasd:ResourceType></Item>
            </VirtualHardwareSection></VirtualSystem></Envelope>"#;
        let machines = read(text, "/ova/old/old.ovf").unwrap();
        let machine = &machines[0];
        assert_eq!((machine.name.as_str(), machine.cpus, machine.cores_per_socket), ("old one", 2, 0));
        assert_eq!((machine.id.len(), machine.firmware.as_str()), (36, ""));
        assert_eq!((machine.disks[0].name.as_str(), machine.disks[0].file_path.as_str()), ("b & c.vmdk", "/ova/old"));
        assert_eq!(machine.devices, ["Hard Disk"]);
        assert!(read("<Envelope>", "/ova/x").is_err());
    }

    #[test]
    fn units_multiply() {
        assert_eq!(unit("byte * 2^30", 1), 1 << 30);
        assert_eq!(unit("", 1 << 20), 1 << 20);
    }
}
