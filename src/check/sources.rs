//! Where each row of the contract is promised, and what of it goes by MTV's version.
//!
//! Files without a repository are Forklift's (`kubev2v/forklift`), read at 2.12.5, with the older ones where a row
//! says so. What a platform supports from which version on is `matrix::support`'s.

/// One row's origin.
pub struct Source {
    /// As in the contract.
    pub check: &'static str,
    /// File and function.
    pub file: &'static str,
    /// What differs by version, for people; empty: the same in all that are known (2.9 to 2.12).
    pub versions: &'static str,
}

const fn source(check: &'static str, file: &'static str) -> Source {
    Source { check, file, versions: "" }
}

impl Source {
    const fn by_version(self, versions: &'static str) -> Self {
        Self { versions, ..self }
    }
}

/// One row a check, in the contract's order; paths below `pkg/controller`.
pub const SOURCES: &[Source] = &[
    source("target-exists", "plan/kubevirt.go `EnsureVM`"),
    source("source-power", "plan/adapter/*/client.go `PowerOff` (vSphere: `ShutdownGuest`)"),
    source("power", "plan/kubevirt.go `determineRunStrategy`")
        .by_version("2.12: a Windows VM is started to wait for its reboots"),
    source("run-strategy", "plan/kubevirt.go `determineRunStrategy`").by_version("2.12: as for `power`"),
    source("identity", "plan/kubevirt.go `getNewVMName`, `vmLabels`; plan/vm_name_handler.go"),
    source("instance-type", "plan/kubevirt.go `setInstanceType`, `emptyVm`"),
    source("cpu", "plan/adapter/*/builder.go `mapCPU`; OpenStack `mapResources`"),
    source("cpu-model", "plan/adapter/ovirt/builder.go `mapCPU`, `setCpuFlags`; others write none"),
    source("memory", "plan/adapter/*/builder.go `mapMemory`; OpenStack `mapResources`"),
    source("memory-limits", "plan/adapter/*/builder.go `mapMemory`: the guest's memory alone"),
    source("firmware", "plan/adapter/*/builder.go `mapFirmware`, `mapTpm`"),
    source("features", "plan/adapter/*/builder.go `mapFirmware` (SMM)"),
    source("machine-type", "kubevirt/kubevirt pkg/defaults; plan/kubevirt.go `emptyVm` writes none"),
    source("clock", "plan/adapter/vsphere/builder.go and plan/adapter/ovirt/builder.go `mapClock`"),
    source("system-uuid", "plan/adapter/ovirt/builder.go `mapFirmware`"),
    source("devices", "plan/adapter/*/builder.go `mapInput`, `mapTpm`"),
    source("serial", "plan/adapter/vsphere/builder.go `getSystemSerial`, uuid_to_vmware_serial.go")
        .by_version("2.10: VMware's own form on OpenShift 4.20 and newer"),
    source("network", "plan/adapter/*/builder.go `mapNetworks`; plan/adapter/base/network.go `AllocateNetwork`")
        .by_version("2.11.1: rows of one network are shared out among a VM's NICs"),
    source("nic-devices", "plan/adapter/*/builder.go `mapNetworks`")
        .by_version("2.12: vSphere's PCI slots may be kept; main: what starts disconnected stays so"),
    source("disk-count", "plan/adapter/*/builder.go `mapDisks`"),
    source("disk-size", "plan/adapter/*/builder.go `DataVolumes`, `PopulatorVolumes`"),
    source("disk-order", "plan/adapter/vsphere/builder.go `DataVolumes` (sorted by bus), `mapDisks`"),
    source("disk-devices", "plan/adapter/*/builder.go `mapDisks`")
        .by_version("2.12: a serial is cut to KubeVirt's 20 characters; before, whole"),
    source("disk-source", "plan/adapter/base/doc.go `AnnDiskSource`; `ResolvePersistentVolumeClaimIdentifier`"),
    source("claims", "plan/kubevirt.go `vmLabels`, `getPVCs`, `vmOwnerReference`"),
    source("storage-class", "plan/adapter/*/builder.go `DataVolumes`, `PopulatorVolumes`"),
    source("access-mode", "plan/adapter/*/builder.go `DataVolumes`; CDI's StorageProfile"),
    source("volume-mode", "plan/adapter/*/builder.go `DataVolumes`; CDI's StorageProfile"),
    source(
        "copy-offload",
        "cmd/vsphere-copy-offload-populator; lib-volume-populator `updateProgress`; `PopulatorOffloadInfo`",
    ),
    source("pvc-names", "plan/adapter/vsphere/builder.go `setPVCNameFromTemplate`; plan/adapter/ocp/builder.go")
        .by_version("to 2.12 for disks of vSphere and OpenShift (2.11) only"),
    source("guest-agent", "kubevirt/kubevirt: `AgentConnected` of the instance"),
    source("ssh-login", "kubevirt/kubevirt: port-forward of the instance"),
    source("static-ip", "plan/adapter/vsphere/builder.go `mapMacStaticIps`; virt-v2v `--mac`"),
    source("dns", "plan/adapter/vsphere/builder.go `mapMacStaticIps`"),
    source("node-placement", "plan/kubevirt.go `virtualMachine`").by_version("2.10: `targetNodeSelector`"),
    source("scheduling", "plan/kubevirt.go `virtualMachine`").by_version("2.10: what the Plan asks for"),
    source(
        "instance",
        "kubevirt/kubevirt: the controllers of VirtualMachines and their instances; `calculatePausedCondition`",
    ),
    source("live-migration", "kubevirt/kubevirt: `calculateLiveMigrationCondition` of virt-handler"),
    source("guest-os", "kubevirt/kubevirt: `guestOSInfo` of the instance"),
    source("labels", "plan/kubevirt.go `virtualMachine`, `setVmLabels`").by_version("2.10: `targetLabels`"),
    source("affinity", "plan/kubevirt.go `virtualMachine`").by_version("2.10: `targetAffinity`"),
    source("provider-tls", "provider/validation.go `ConnectionInsecure`"),
    source("snapshots", "plan/migration.go `removeLastWarmSnapshot`; plan/adapter/ovirt/client.go `Finalize`"),
    source("source-kept", "plan/adapter/*/client.go: power and snapshots are all that MTV changes"),
    source(
        "plan-kept",
        "the Plan's spec is its user's: no controller writes it; defaults of pkg/apis/forklift/v1beta1/plan.go",
    ),
    source("migration-status", "plan/migration.go, plan/migrator"),
    source("hooks", "plan/hook.go"),
    source("precopies", "plan/migration.go"),
    source("cutover", "plan/migration.go `PhaseCopyingPaused`"),
    source("twins", "plan/kubevirt.go `EnsureVM`, `ListVMs`"),
    source("left-behind", "plan/migration.go `cleanup`")
        .by_version("2.12: Secrets and ConfigMaps of the transfer go with it; before, with the archived Plan"),
    source("boot", "virt-v2v makes the guest ready for KubeVirt's devices; kubevirt/kubevirt: `start` of the VM"),
    source("marker", "plan/migration.go: a migration copies the disks; virt-v2v, CDI and the populators do it"),
    source(
        "shared-data",
        "plan/adapter/vsphere/builder.go: a VM whose shared disks are not migrated gets the claims of the owner's",
    ),
];

/// What tests/suite/verdicts.rs has tried: MTV version, platform, check, defects made, defects that the check found.
pub const TRIED: &str = include_str!("tried.tsv");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::CONTRACT;
    use super::SOURCES;

    /// Names of functions in files below a directory.
    fn functions(dir: &Path, out: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                functions(&path, out);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let named = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once('('));
                out.extend(named.map(|(name, _)| name.to_owned()));
            }
        }
    }

    #[test]
    fn each_alarm_and_miss_that_the_page_of_checks_tells_has_the_tests_that_it_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(root.join("docs/checks.md")).unwrap();
        let told = page.split_once("## Alarms and misses").unwrap().1.split_once("\n## ").unwrap().0;
        let mut known = std::collections::BTreeSet::new();
        ["src", "tests", "api/src"].iter().for_each(|dir| functions(&root.join(dir), &mut known));
        let tests = told.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| ")).map(|(_, tests)| tests);
        let named: Vec<&str> = tests.flat_map(|tests| tests.split('`')).filter(|name| name.contains('_')).collect();
        assert!(named.len() > 20, "{named:?}");
        let missing: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_row_of_the_contract_says_where_it_is_promised() {
        let names: Vec<&str> = CONTRACT.iter().map(|check| check.name).collect();
        assert_eq!(SOURCES.iter().map(|source| source.check).collect::<Vec<_>>(), names);
        assert!(SOURCES.iter().all(|source| source.file.len() > 10));
    }
}
