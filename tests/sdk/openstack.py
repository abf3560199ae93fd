"""The lab's OpenStack endpoint as the official Python SDK sees it.

Arguments: providers.json of the lab, and its CA. Ends with the line `all good`; any surprise is an
exception.
"""

import json
import sys

import openstack
from openstack import exceptions

profile = json.load(open(sys.argv[1]))["openstack"]
ca = sys.argv[2]


def connect(**more):
    auth = dict(
        auth_url=profile["api_url"],
        username=profile["username"],
        password=profile["password"],
        project_name=profile["project_name"],
        user_domain_id=profile["user_domain_id"],
        project_domain_id=profile["project_domain_id"],
    )
    auth.update(more)
    return openstack.connection.Connection(auth=auth, region_name=profile["region_name"], cacert=ca)


def step(text):
    print(text, flush=True)


# ---- login
try:
    connect(password="wrong").authorize()
    raise SystemExit("a wrong password logged in")
except exceptions.SDKException as error:
    assert "401" in str(error), error
step("a wrong password is refused")

cloud = connect()
assert cloud.authorize()
credential = openstack.connection.Connection(
    auth_type="v3applicationcredential",
    auth=dict(
        auth_url=profile["api_url"],
        application_credential_id="7a1f8c5e2d3b4a6c9e8f7d6c5b4a3f21",
        application_credential_secret="lab-openstack-credential",
    ),
    region_name=profile["region_name"],
    cacert=ca,
)
assert credential.authorize()
assert [p.name for p in cloud.identity.projects()] == [profile["project_name"]]
assert [r.id for r in cloud.identity.regions()] == [profile["region_name"]]
step("logged in by password and by application credential")

# ---- reading
compute, block, image, network = cloud.compute, cloud.block_storage, cloud.image, cloud.network
names = sorted(s.name for s in compute.servers(details=True))
assert "mtv-tests-rhel8" in names and "db-prod-01" in names, names
assert sorted(s.name for s in compute.servers(name="mtv-tests-rhel8")) == ["mtv-tests-rhel8", "mtv-tests-rhel8-old"]
assert sorted(s.name for s in compute.servers(details=True, limit=2)) == names, "pages"
source = compute.find_server("mtv-tests-rhel8", ignore_missing=False)
source = compute.get_server(source.id)
assert source.flavor.original_name == "m1.small" and source.flavor.vcpus == 1, source.flavor
assert list(source.addresses) == ["vm-network"], source.addresses
assert not source.image or not source.image.id
attachments = list(compute.volume_attachments(source))
assert [a.device for a in attachments] == ["/dev/vda"], attachments
boot = block.get_volume(attachments[0].volume_id)
assert boot.is_bootable and boot.status == "in-use" and boot.size == 16, boot
assert boot.volume_image_metadata["os_type"] == "linux"
assert boot.volume_type in [t.name for t in block.types()]
flavor = compute.find_flavor("m1.small", ignore_missing=False)
assert compute.get_flavor(flavor.id).ram == 2048
ports = list(network.ports(device_id=source.id))
assert len(ports) == 1 and network.get_network(ports[0].network_id).name == "vm-network"
assert [n.name for n in network.networks(name="vm-network")] == ["vm-network"]
assert len(list(network.subnets(network_id=ports[0].network_id))) == 1
assert [i.mac_addr for i in compute.server_interfaces(source)] == [ports[0].mac_address]
try:
    compute.get_server("00000000-0000-0000-0000-000000000000")
    raise SystemExit("a server that is not there was found")
except exceptions.NotFoundException:
    pass
try:
    image.get_image("00000000-0000-0000-0000-000000000000")
    raise SystemExit("an image that is not there was found")
except exceptions.NotFoundException:
    pass
step("servers, flavors, volumes, networks and ports are as they should be")

# ---- what a cloud has besides
key = compute.create_keypair(name="sdk-key")
assert key.private_key and key.public_key.startswith("ssh-"), key
assert "sdk-key" in [k.name for k in compute.keypairs()] and compute.get_keypair("sdk-key").fingerprint == key.fingerprint
try:
    compute.create_keypair(name="sdk-key")
    raise SystemExit("a key pair was made twice")
except exceptions.ConflictException:
    pass
compute.delete_keypair(key)
assert "sdk-key" not in [k.name for k in compute.keypairs()]
limits = compute.get_limits().absolute
assert limits.instances_used == len(names) and limits.instances == -1, limits
project = list(cloud.identity.projects())[0]
assert compute.get_quota_set(project.id).cores == -1
assert block.get_limits().absolute.total_volumes_used == len(list(block.volumes()))
assert block.get_quota_set(project.id).gigabytes == -1
assert network.get_quota(project.id).ports == -1
assert [h.state for h in compute.hypervisors(details=True)] == ["up"]
assert [z.name for z in compute.availability_zones()] == ["nova"]
assert "os-keypairs" in [e.alias for e in compute.extensions()]
running = next(s for s in compute.servers() if s.status == "ACTIVE")
output = compute.get_server_console_output(running, length=1)["output"]
assert len(output.splitlines()) <= 1, output
assert compute.create_console(running, "novnc")["url"].startswith("https://")
step("key pairs, limits, quotas, hypervisors and consoles")

# ---- snapshot → volume → server with a port of its own
try:
    block.create_snapshot(volume_id=boot.id, name="sdk-snap", force=False)
except exceptions.HttpException:
    pass
snapshot = block.create_snapshot(volume_id=boot.id, name="sdk-snapshot", is_forced=True)
snapshot = block.wait_for_status(snapshot, "available", interval=0.05, wait=30)
volume = block.create_volume(name="sdk-volume", snapshot_id=snapshot.id, size=16)
volume = block.wait_for_status(volume, "available", interval=0.05, wait=30)
assert volume.is_bootable and volume.volume_type == boot.volume_type, volume
port = network.create_port(network_id=ports[0].network_id, name="sdk-port")
assert port.mac_address.startswith("fa:16:3e:") and port.fixed_ips
try:
    network.create_port(network_id=ports[0].network_id, mac_address=port.mac_address)
    raise SystemExit("a MAC was given twice")
except exceptions.ConflictException:
    pass
server = compute.create_server(
    name="sdk-server",
    flavor_id=flavor.id,
    networks=[{"port": port.id}],
    block_device_mapping=[
        {
            "boot_index": 0,
            "source_type": "volume",
            "destination_type": "volume",
            "uuid": volume.id,
            "delete_on_termination": True,
        }
    ],
)
server = compute.wait_for_server(server, interval=0.05, wait=30)
assert server.status == "ACTIVE" and list(server.addresses) == ["vm-network"], server
step("made a server of a snapshot")

# ---- power
compute.stop_server(server)
server = compute.wait_for_server(server, status="SHUTOFF", interval=0.05, wait=30)
try:
    compute.stop_server(server)
    raise SystemExit("a stopped server was stopped")
except exceptions.ConflictException as error:
    assert "Cannot 'stop' instance" in str(error), error
compute.start_server(server)
server = compute.wait_for_server(server, status="ACTIVE", interval=0.05, wait=30)
step("stopped and started it")

# ---- an image of a server on volumes: empty, with snapshots that outlive it
made = compute.create_server_image(server, "sdk-image", wait=True, timeout=30)
assert made.size == 0 and "block_device_mapping" in made.properties, made
own = [s for s in block.snapshots() if s.name == "snapshot for sdk-image"]
assert len(own) == 1 and own[0].volume_id == volume.id, own
image.delete_image(made)
block.wait_for_status(block.get_snapshot(own[0].id), "available", interval=0.05, wait=30)
block.delete_snapshot(own[0].id)
block.wait_for_delete(own[0], interval=0.05, wait=30)

# ---- the cloud layer's own way to boot
quick = cloud.create_server(
    "sdk-quick", image="rhel-8.10-x86_64", flavor="m1.small", network="vm-network", wait=True, timeout=60, auto_ip=False
)
assert quick.status == "ACTIVE" and quick.image.id, quick
cloud.delete_server("sdk-quick", wait=True, timeout=60)

# ---- upload, read back
upload = image.create_image(name="sdk-upload", data=b"0123456789", disk_format="raw", container_format="bare")
assert image.get_image(upload.id).status == "active"
image.update_image(upload, colour="red")
assert image.get_image(upload.id).properties["colour"] == "red"
assert [i.name for i in image.images(name="sdk-upload")] == ["sdk-upload"]
image.delete_image(upload)
step("images are made, marked and deleted")

# ---- and all of it goes again
compute.delete_server(server)
compute.wait_for_delete(server, interval=0.05, wait=30)
assert network.get_port(port.id).device_id == "", "a port that was passed outlives its server"
network.delete_port(port)
assert block.find_volume("sdk-volume") is None, "delete_on_termination"
block.delete_snapshot(snapshot)
block.wait_for_delete(snapshot, interval=0.05, wait=30)
for leftover in list(compute.servers()) + list(block.volumes()) + list(block.snapshots()) + list(network.ports()):
    assert not (leftover.name or "").startswith("sdk-"), leftover
assert not [i for i in image.images() if i.name.startswith("sdk-")]
step("all good")
