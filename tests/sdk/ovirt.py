"""The official oVirt SDK against the lab's engine: what a standard client does must work.

Usage: ovirt.py URL CA_FILE USER PASSWORD. Prints one line a step; any deviation is an exception.
"""

import sys
import time

import ovirtsdk4 as sdk
from ovirtsdk4 import types

URL, CA_FILE, USER, PASSWORD = sys.argv[1:5]
NAME = "sdk-clone"


def connect(password=PASSWORD):
    return sdk.Connection(url=URL, username=USER, password=password, ca_file=CA_FILE, timeout=30)


def wait(what, look, limit=30):
    deadline = time.monotonic() + limit
    while not look():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.05)


def refused(call, kind=sdk.Error, code=None):
    try:
        call()
    except kind as error:
        assert code is None or error.code == code, error
        return error
    raise AssertionError("it was not refused")


refused(lambda: connect("not-the-password").system_service().get(), sdk.AuthError)
connection = connect()
assert connection.test(raise_exception=True)
system = connection.system_service()
api = system.get()
assert api.product_info.version.major == 4, api.product_info.version.major
print("logged in:", api.product_info.name, api.product_info.version.full_version)

# Lists: every collection that MTV or a runner reads.
datacenters = system.data_centers_service().list()
assert [d.name for d in datacenters if d.status == types.DataCenterStatus.UP] == ["MTV-CNV"]
clusters = system.clusters_service().list()
assert clusters[0].data_center.id == datacenters[0].id
assert all(h.status == types.HostStatus.UP for h in system.hosts_service().list(follow="nics,network_attachments"))
networks = system.networks_service().list(follow="vnic_profiles")
assert networks[0].vnic_profiles[0].network.id == networks[0].id
domains = {d.id: d for d in system.storage_domains_service().list()}
assert all(d.available > 0 for d in domains.values())
assert any(d.storage.type == types.StorageType.FCP for d in domains.values())
assert system.disks_service().list()[0].provisioned_size > 0
assert system.vnic_profiles_service().list() and system.disk_profiles_service().list()
assert len(system.vms_service().list(search="name=db-prod*", follow="nics,disk_attachments.disk")) == 1
assert system.vms_service().list(search="name=it's") == []
print("listed")

# A template, its NICs and networks, its disks.
templates = system.templates_service().list(search="name=mtv-rhel8-warm-2disks2nics")
assert len(templates) == 1 and templates[0].status == types.TemplateStatus.OK
nics = connection.follow_link(templates[0].nics)
named = [connection.follow_link(connection.follow_link(n.vnic_profile).network).name for n in nics]
assert named == ["ovirtmgmt", "vm-net-120"], named
assert len(connection.follow_link(templates[0].disk_attachments)) == 2

# Blank, the administrator, tags, consoles.
blank = system.templates_service().list(search="name=Blank")
assert [t.id for t in blank] == ["00000000-0000-0000-0000-000000000000"], blank
assert connection.follow_link(system.permissions_service().list()[0].role).name == "SuperUser"
assert connection.follow_link(api.authenticated_user).user_name == system.users_service().list()[0].user_name
assert "UserRole" in [r.name for r in system.roles_service().list()]
tags = system.tags_service()
tag = tags.add(types.Tag(name="sdk-tag"))
running = next(v for v in system.vms_service().list() if v.status == types.VmStatus.UP)
own = system.vms_service().vm_service(running.id)
own.tags_service().add(types.Tag(name="sdk-tag"))
assert [t.name for t in own.tags_service().list()] == ["sdk-tag"]
refused(lambda: tags.add(types.Tag(name="sdk-tag")), code=409)
tags.tag_service(tag.id).remove()
assert own.tags_service().list() == []
consoles = own.graphics_consoles_service()
console = consoles.list(current=True)[0]
assert console.protocol == types.GraphicsType.VNC and console.address and console.port >= 5900, console
viewer = consoles.console_service(console.id).remote_viewer_connection_file()
assert f"port={console.port}" in viewer, viewer
assert own.ticket().value
print("tags, users, roles, consoles")

# Clone.
vms = system.vms_service()
order = types.Vm(
    name=NAME,
    cluster=types.Cluster(id=clusters[0].id),
    template=types.Template(id=templates[0].id),
    memory_policy=types.MemoryPolicy(guaranteed=0),
)
made = vms.add(order, clone=True)
service = vms.vm_service(made.id)
assert service.get().status == types.VmStatus.IMAGE_LOCKED
refused(lambda: service.start(), code=409)
refused(lambda: vms.add(order, clone=True), code=409)
wait("the clone", lambda: service.get().status == types.VmStatus.DOWN)
vm = service.get(follow="nics,disk_attachments.disk")
assert [a.disk.status for a in vm.disk_attachments] == [types.DiskStatus.OK] * 2
assert len({n.mac.address for n in vm.nics}) == 2
assert vm.memory == templates[0].memory and vm.cpu.topology.sockets == templates[0].cpu.topology.sockets
print("cloned", vm.id)

# Power.
service.start()
wait("up", lambda: service.get().status == types.VmStatus.UP)
wait("the guest", lambda: service.reported_devices_service().list())
assert service.reported_devices_service().list()[0].ips[0].version == types.IpVersion.V4
refused(lambda: service.remove(), code=409)
service.shutdown()
wait("down", lambda: service.get().status == types.VmStatus.DOWN)
service.start()
wait("up again", lambda: service.get().status == types.VmStatus.UP)
service.stop(reason="a test")
wait("stopped", lambda: service.get().status == types.VmStatus.DOWN)
refused(lambda: service.stop(), code=409)
codes = [e.code for e in system.events_service().list(search=f"Vms.id = {vm.id}")]
assert {32, 33, 37, 53, 61, 73} <= set(codes), codes
print("powered on and off")

# Snapshot.
snapshots = service.snapshots_service()
made = snapshots.add(
    types.Snapshot(description="mine", persist_memorystate=False), query={"correlation_id": "sdk-snapshot"}
)
snapshot = snapshots.snapshot_service(made.id)
wait("the snapshot", lambda: snapshot.get().snapshot_status == types.SnapshotStatus.OK)
kinds = sorted(s.snapshot_type.value for s in snapshots.list())
assert kinds == ["active", "regular"], kinds
codes = [e.code for e in system.events_service().list(search="correlation_id=sdk-snapshot")]
assert codes == [68, 45], codes
layers = [
    layer
    for domain in domains
    for layer in system.storage_domains_service().storage_domain_service(domain).disk_snapshots_service().list()
    if layer.snapshot.id == made.id
]
assert len(layers) == 2
snapshot.remove()


def gone(look):
    try:
        look()
    except sdk.NotFoundError:
        return True
    return False


wait("the snapshot to go", lambda: gone(snapshot.get))
print("snapshot made and removed")

# A NIC and a disk more, and away again.
nic = service.nics_service().add(types.Nic(name="nic9", vnic_profile=types.VnicProfile(id=nics[0].vnic_profile.id)))
service.nics_service().nic_service(nic.id).remove()
attachment = service.disk_attachments_service().add(
    types.DiskAttachment(
        disk=types.Disk(
            name="extra",
            format=types.DiskFormat.COW,
            provisioned_size=1 << 30,
            storage_domains=[types.StorageDomain(name="data-nfs")],
        ),
        interface=types.DiskInterface.VIRTIO_SCSI,
        bootable=False,
        active=True,
    )
)
extra = system.disks_service().disk_service(attachment.disk.id)
wait("the disk", lambda: extra.get().status == types.DiskStatus.OK)
service.disk_attachments_service().attachment_service(attachment.id).remove(detach_only=True)
assert extra.get().status == types.DiskStatus.OK
extra.remove()
print("NIC and disk added and removed")

# Away with it.
service.remove()
wait("the VM to go", lambda: gone(service.get))
assert all(gone(system.disks_service().disk_service(a.disk.id).get) for a in vm.disk_attachments)
assert system.jobs_service().list()
connection.close()
print("removed")
