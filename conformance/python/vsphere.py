"""pyvmomi against the lab's vSphere: log in, browse, watch, clone, power, snapshot, delete.

Prints one line a step. Usage: vsphere.py HOST PORT USER CA_FILE, the password in VSPHERE_PASSWORD.
"""

import os
import ssl
import sys

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

SOURCE, CLONE = "mtv-tests-rhel8", "pyvmomi-clone"


def say(step, *values):
    print(step + ":", *values, flush=True)


def check(condition, what):
    if not condition:
        raise SystemExit(f"{what} is not so")


def main(host, port, user, ca):
    context = ssl.create_default_context(cafile=ca)
    password = os.environ["VSPHERE_PASSWORD"]
    try:
        SmartConnect(host=host, port=int(port), user=user, pwd="wrong", sslContext=context)
        raise SystemExit("a wrong password was taken")
    except vim.fault.InvalidLogin as fault:
        say("wrong password", type(fault).__name__)
    instance = SmartConnect(host=host, port=int(port), user=user, pwd=password, sslContext=context)
    try:
        work(instance)
    finally:
        Disconnect(instance)


def named(content, kind, name):
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        found = [entity for entity in view.view if entity.name == name]
    finally:
        view.Destroy()
    return found[0] if found else None


def work(instance):
    content = instance.RetrieveContent()
    say("about", content.about.apiType, content.about.apiVersion)
    check(content.sessionManager.currentSession.userName, "a session of one's own")
    center = content.rootFolder.childEntity[0]
    say("datacenter", type(center).__name__, [type(f).__name__ for f in (center.vmFolder, center.hostFolder, center.datastoreFolder, center.networkFolder)])
    cluster = center.hostFolder.childEntity[0]
    say("cluster", type(cluster).__name__, len(cluster.host), cluster.resourcePool.name)
    for host in cluster.host:
        check(host.runtime.connectionState == "connected", f"{host.name} connected")
        check(host.hardware.memorySize > 0 and host.summary.hardware.numCpuCores > 0, "hardware of a host")
    stores = center.datastore
    check(all(s.summary.capacity >= s.summary.freeSpace > 0 for s in stores), "room in datastores")
    say("datastores", len(stores), "networks", len(center.network))
    source = named(content, vim.VirtualMachine, SOURCE)
    disks = [d for d in source.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
    cards = [d for d in source.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    say("source", len(disks), "disks", len(cards), "cards", source.config.guestId, source.summary.config.numCpu > 0)
    check(all(isinstance(d.backing, vim.vm.device.VirtualDisk.FlatVer2BackingInfo) for d in disks), "disks on files")
    check(source.config.uuid and source.config.instanceUuid, "uuids")
    by_uuid = content.searchIndex.FindByUuid(None, source.config.uuid, True, False)
    check(by_uuid == source, "found by uuid")
    collect(content, source)
    clone = cloned(content, source, cluster)
    try:
        changed(clone)
        snapshots(clone)
        powered(clone)
    finally:
        if clone.runtime.powerState == "poweredOn":
            WaitForTask(clone.PowerOff())
        WaitForTask(clone.Destroy())
    check(named(content, vim.VirtualMachine, CLONE) is None, "the clone gone")
    say("destroy", "gone")
    try:
        say("a ghost", clone.name)
    except vmodl.fault.ManagedObjectNotFound:
        say("a ghost", "ManagedObjectNotFound")


def collect(content, source):
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=source)],
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "config.hardware.numCPU", "guest.net"])],
    )
    answer = content.propertyCollector.RetrievePropertiesEx([spec], vmodl.query.PropertyCollector.RetrieveOptions())
    say("collect", sorted(p.name for p in answer.objects[0].propSet))
    try:
        spec.propSet[0].pathSet = ["nonsense"]
        content.propertyCollector.RetrievePropertiesEx([spec], vmodl.query.PropertyCollector.RetrieveOptions())
        say("a bad property", "was taken")
    except vmodl.query.InvalidProperty as fault:
        say("a bad property", fault.name)


def cloned(content, source, cluster):
    place = vim.vm.RelocateSpec(pool=cluster.resourcePool, datastore=source.datastore[0], diskMoveType="moveAllDiskBackingsAndDisallowSharing")
    config = vim.vm.ConfigSpec(annotation="made by pyvmomi", extraConfig=[vim.option.OptionValue(key="made.by", value="pyvmomi")])
    spec = vim.vm.CloneSpec(location=place, powerOn=False, template=False, config=config)
    task = source.Clone(folder=source.parent, name=CLONE, spec=spec)
    WaitForTask(task)
    clone = task.info.result
    say("clone", clone.name, clone.runtime.powerState, clone.config.annotation)
    check({o.key: o.value for o in clone.config.extraConfig}.get("made.by") == "pyvmomi", "extra config")
    try:
        WaitForTask(source.Clone(folder=source.parent, name=CLONE, spec=spec))
        say("the same name", "was taken")
    except vim.fault.DuplicateName as fault:
        say("the same name", type(fault).__name__, fault.name)
    return clone


def changed(clone):
    WaitForTask(clone.Reconfigure(vim.vm.ConfigSpec(numCPUs=3, memoryMB=3072, changeTrackingEnabled=True)))
    say("reconfigure", clone.config.hardware.numCPU, clone.config.hardware.memoryMB, clone.config.changeTrackingEnabled)
    disk = next(d for d in clone.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))
    new = vim.vm.device.VirtualDisk(
        controllerKey=disk.controllerKey,
        unitNumber=5,
        key=-1,
        capacityInKB=1024 * 1024,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(diskMode="persistent", thinProvisioned=True, fileName=""),
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=new)
    before = sum(isinstance(d, vim.vm.device.VirtualDisk) for d in clone.config.hardware.device)
    WaitForTask(clone.Reconfigure(vim.vm.ConfigSpec(deviceChange=[change])))
    say("a disk more", sum(isinstance(d, vim.vm.device.VirtualDisk) for d in clone.config.hardware.device) - before)
    WaitForTask(clone.Rename(CLONE))


def snapshots(clone):
    for name in ("first", "second"):
        WaitForTask(clone.CreateSnapshot(name=name, description="of " + name, memory=False, quiesce=False))
    tree = clone.snapshot.rootSnapshotList
    say("snapshots", tree[0].name, tree[0].childSnapshotList[0].name, clone.snapshot.currentSnapshot == tree[0].childSnapshotList[0].snapshot)
    changes = tree[0].childSnapshotList[0].snapshot.config.hardware.device
    check(any(isinstance(d, vim.vm.device.VirtualDisk) for d in changes), "disks of a snapshot")
    WaitForTask(tree[0].childSnapshotList[0].snapshot.Remove(removeChildren=False))
    WaitForTask(clone.RemoveAllSnapshots())
    say("snapshots left", clone.snapshot)


def powered(clone):
    WaitForTask(clone.PowerOn())
    say("power on", clone.runtime.powerState)
    try:
        WaitForTask(clone.PowerOn())
        say("twice", "was taken")
    except vim.fault.InvalidPowerState as fault:
        say("twice", type(fault).__name__, fault.existingState)
    try:
        WaitForTask(clone.Destroy())
        say("destroy a running one", "was taken")
    except vim.fault.InvalidPowerState as fault:
        say("destroy a running one", type(fault).__name__)
    WaitForTask(clone.PowerOff())
    say("power off", clone.runtime.powerState)


main(*sys.argv[1:])
