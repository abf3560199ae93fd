"""openshift-python-wrapper on the lab: its login by password, MTV's kinds, a VM that starts and stops. A line a step."""

import os
import sys

from ocp_resources.namespace import Namespace
from ocp_resources.pod import Pod
from ocp_resources.provider import Provider
from ocp_resources.resource import get_client
from ocp_resources.storage_class import StorageClass
from ocp_resources.virtual_machine import VirtualMachine

kubeconfig, host = sys.argv[1:3]


def step(text):
    print(text, flush=True)


def resource(name, namespace):
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "runStrategy": "Manual",
            "template": {
                "spec": {
                    "domain": {"devices": {"interfaces": [{"name": "default", "masquerade": {}}]}, "memory": {"guest": "1Gi"}},
                    "networks": [{"name": "default", "pod": {}}],
                }
            },
        },
    }


by_file = get_client(config_file=kubeconfig)
step("providers: " + ", ".join(p.name for p in Provider.get(client=by_file, namespace="openshift-mtv")))
step(f"storage classes: {len(list(StorageClass.get(client=by_file)))}")

by_password = get_client(
    host=host, username=os.environ["LAB_USER"], password=os.environ["LAB_PASSWORD"], verify_ssl=False
)
with Namespace(client=by_password, name="wrapper") as namespace:
    namespace.wait_for_status(status=Namespace.Status.ACTIVE, timeout=20)
    step("namespace active")
    with VirtualMachine(client=by_password, kind_dict=resource("vm", "wrapper")) as vm:
        vm.start(wait=True, timeout=60)
        vm.vmi.wait_until_running(timeout=60)
        step("started")
        pod = next(iter(Pod.get(client=by_password, namespace="wrapper", label_selector="kubevirt.io=virt-launcher")))
        step("in virt-launcher: " + pod.execute(command=["virsh", "list"]).split()[5])
        vm.stop(wait=True, timeout=60)
        step("stopped")
step("gone")
