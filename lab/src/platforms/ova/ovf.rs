//! One machine as an OVF document, in the form that VMware's ovftool writes.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::roster::Machine;

/// `rasd:ResourceType` of CIM.
const PROCESSOR: u32 = 3;
const MEMORY: u32 = 4;
const ETHERNET: u32 = 10;
const DISK: u32 = 17;

/// Elements of one item, in the order of their names, as the standard wants it.
fn item(out: &mut String, instance: usize, kind: u32, fields: &[(&str, String)]) {
    let mut fields = fields.to_vec();
    fields.extend([("InstanceID", instance.to_string()), ("ResourceType", kind.to_string())]);
    fields.sort();
    out.push_str("      <Item>\n");
    for (name, value) in fields {
        let _ = writeln!(out, "        <rasd:{name}>{}</rasd:{name}>", escape(&value));
    }
    // VMware's own extension stands last.
    if kind == PROCESSOR {
        out.push_str("        <vmw:CoresPerSocket ovf:required=\"false\">1</vmw:CoresPerSocket>\n");
    }
    out.push_str("      </Item>\n");
}

fn hardware(machine: &Machine, networks: &[String]) -> String {
    let mut out = String::new();
    let cpus = machine.cpus.to_string();
    item(
        &mut out,
        1,
        PROCESSOR,
        &[
            ("AllocationUnits", "hertz * 10^6".to_owned()),
            ("ElementName", format!("{cpus} virtual CPU(s)")),
            ("VirtualQuantity", cpus.clone()),
        ],
    );
    let memory = machine.memory_mib.to_string();
    item(
        &mut out,
        2,
        MEMORY,
        &[
            ("AllocationUnits", "byte * 2^20".to_owned()),
            ("ElementName", format!("{memory}MB of memory")),
            ("VirtualQuantity", memory.clone()),
        ],
    );
    for (n, _) in machine.disks.iter().enumerate() {
        item(
            &mut out,
            10 + n,
            DISK,
            &[
                ("AddressOnParent", n.to_string()),
                ("ElementName", format!("Hard Disk {}", n + 1)),
                ("HostResource", format!("ovf:/disk/vmdisk{}", n + 1)),
            ],
        );
    }
    for (n, nic) in machine.nics.iter().enumerate() {
        item(
            &mut out,
            30 + n,
            ETHERNET,
            &[
                ("Address", nic.mac.clone()),
                ("AddressOnParent", (7 + n).to_string()),
                ("Connection", networks.get(nic.network).cloned().unwrap_or_default()),
                ("ElementName", format!("Network adapter {}", n + 1)),
                ("ResourceSubType", "VmxNet3".to_owned()),
            ],
        );
    }
    out
}

/// The whole document.
pub(super) fn document(machine: &Machine, known: &[String]) -> String {
    let (mut files, mut disks, mut networks) = (String::new(), String::new(), String::new());
    for (n, gib) in machine.disks.iter().enumerate().map(|(n, gib)| (n + 1, gib)) {
        let _ = writeln!(
            files,
            "    <File ovf:href=\"{}-disk{n}.vmdk\" ovf:id=\"file{n}\" ovf:size=\"68608\"/>",
            machine.name
        );
        let _ = writeln!(
            disks,
            "    <Disk ovf:capacity=\"{gib}\" ovf:capacityAllocationUnits=\"byte * 2^30\" ovf:diskId=\"vmdisk{n}\" ovf:fileRef=\"file{n}\" ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized\" ovf:populatedSize=\"0\"/>"
        );
    }
    for name in machine.nics.iter().filter_map(|nic| known.get(nic.network)).map(|name| escape(name.as_str())) {
        let _ = writeln!(
            networks,
            "    <Network ovf:name=\"{name}\"><Description>The {name} network</Description></Network>"
        );
    }
    let firmware = if machine.efi { "efi" } else { "bios" };
    let secure = machine.secure_boot;
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
{files}  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>
{disks}  </DiskSection>
  <NetworkSection>
    <Info>The list of logical networks</Info>
{networks}  </NetworkSection>
  <VirtualSystem ovf:id="{uuid}">
    <Info>A virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="80" vmw:osType="{os}">
      <Info>The kind of installed guest operating system</Info>
      <Description>{pretty}</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware requirements</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType>
      </System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
      <vmw:Config ovf:required="false" vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="{secure}"/>
      <vmw:Config ovf:required="false" vmw:key="cpuHotAddEnabled" vmw:value="false"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
        uuid = machine.uuid,
        name = machine.name,
        os = machine.guest_id,
        pretty = machine.pretty_name,
        items = hardware(machine, known),
    )
}
