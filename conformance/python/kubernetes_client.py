"""What people do with the Python client, on the API server of a kubeconfig.

Prints one line a step; the lines are the same on every server that behaves.
"""

import sys
import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

NAMESPACE = "diff-python"


def say(step, *values):
    print(step + ":", *values, flush=True)


def refused(step, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        say(step, "was not refused")
    except ApiException as error:
        say(step, error.status, error.reason)


def answered(answer, field):
    """A field of an answer that some versions of the client leave a dictionary."""
    return answer.get(field) if isinstance(answer, dict) else getattr(answer, field)


def main(kubeconfig):
    config.load_kube_config(kubeconfig)
    core, custom = client.CoreV1Api(), client.CustomObjectsApi()
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    for _ in range(100):
        if any(a.metadata.name == "default" for a in core.list_namespaced_service_account(NAMESPACE).items):
            break
        time.sleep(0.1)
    try:
        typed(core)
        customs(custom)
        watched(core)
        untyped()
    finally:
        core.delete_namespace(NAMESPACE)
    for _ in range(600):
        if not any(n.metadata.name == NAMESPACE for n in core.list_namespace().items):
            return say("namespace", "gone")
        time.sleep(0.1)
    say("namespace", "still there")


def typed(core):
    made = core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "one", "labels": {"a": "b"}}, "data": {"k": "v"}})
    say("create", made.kind, made.metadata.name, made.data, made.metadata.creation_timestamp is not None)
    refused("create again", core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "one"}})
    say("read", core.read_namespaced_config_map("one", NAMESPACE).data)
    refused("read nothing", core.read_namespaced_config_map, "none", NAMESPACE)
    say("patch", core.patch_namespaced_config_map("one", NAMESPACE, {"data": {"l": "w"}}).data)
    made.data = {"stale": "yes"}
    refused("replace a stale one", core.replace_namespaced_config_map, "one", NAMESPACE, made)
    current = core.read_namespaced_config_map("one", NAMESPACE)
    current.data = {"replaced": "yes"}
    say("replace", core.replace_namespaced_config_map("one", NAMESPACE, current).data)
    for name in ("two", "three", "four"):
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": name, "labels": {"a": "c"}}})
    page = core.list_namespaced_config_map(NAMESPACE, limit=2)
    rest = core.list_namespaced_config_map(NAMESPACE, limit=2, _continue=page.metadata._continue)
    say("pages", [i.metadata.name for i in page.items], page.metadata.remaining_item_count, [i.metadata.name for i in rest.items])
    say("select", [i.metadata.name for i in core.list_namespaced_config_map(NAMESPACE, label_selector="a in (b)").items])
    secret = core.create_namespaced_secret(NAMESPACE, client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"p": "q"}))
    say("secret", secret.data, secret.type)
    pod = core.create_namespaced_pod(
        NAMESPACE,
        client.V1Pod(metadata=client.V1ObjectMeta(name="p"), spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="i")])),
    )
    say("pod", pod.status.phase, pod.spec.restart_policy)
    core.delete_namespaced_pod("p", NAMESPACE, grace_period_seconds=0)
    say("delete", answered(core.delete_namespaced_config_map("one", NAMESPACE), "status"))
    say("delete all", answered(core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="a=c"), "kind"))
    say("left", [i.metadata.name for i in core.list_namespaced_config_map(NAMESPACE).items])
    version = client.VersionApi().get_code()
    say("version", version.major)
    groups = {g.name for g in client.ApisApi().get_api_versions().groups}
    say("groups", sorted(groups & {"apps", "batch", "forklift.konveyor.io", "kubevirt.io", "events.k8s.io"}))
    review = client.AuthorizationV1Api().create_self_subject_access_review(
        {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    )
    say("may create pods", review.status.allowed)


def customs(custom):
    where = ("conformance.example", "v1", NAMESPACE, "widgets")
    widget = {"apiVersion": "conformance.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"color": "red"}}
    say("custom", custom.create_namespaced_custom_object(*where, widget)["spec"])
    refused("custom, bad", custom.create_namespaced_custom_object, *where, {**widget, "spec": {"color": "pink"}})
    say("custom patch", custom.patch_namespaced_custom_object(*where, "w", {"spec": {"size": 4}})["spec"])
    say("custom status", custom.patch_namespaced_custom_object_status(*where, "w", {"status": {"phase": "Up"}})["status"])
    say("custom scale", custom.patch_namespaced_custom_object_scale(*where, "w", {"spec": {"replicas": 2}})["spec"])
    say("custom list", [i["metadata"]["name"] for i in custom.list_namespaced_custom_object(*where)["items"]])
    say("custom delete", custom.delete_namespaced_custom_object(*where, "w")["status"])
    plans = custom.list_cluster_custom_object("forklift.konveyor.io", "v1beta1", "plans", label_selector="none")
    say("plans", plans["kind"], plans["items"])
    bad = {"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan", "metadata": {"name": "p"}, "spec": {}}
    refused("a plan without anything", custom.create_namespaced_custom_object, "forklift.konveyor.io", "v1beta1", NAMESPACE, "plans", bad)


def watched(core):
    version = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version

    def write():
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "seen"}})
        core.patch_namespaced_config_map("seen", NAMESPACE, {"data": {"a": "b"}})
        core.delete_namespaced_config_map("seen", NAMESPACE)

    writer = threading.Thread(target=write)
    writer.start()
    events = []
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=20):
        events.append((event["type"], event["object"].metadata.name))
        if len(events) == 3:
            stream.stop()
    writer.join()
    say("watch", events)


def untyped():
    api = dynamic.DynamicClient(client.ApiClient())
    widgets = api.resources.get(api_version="conformance.example/v1", kind="Widget")
    body = {"apiVersion": "conformance.example/v1", "kind": "Widget", "metadata": {"name": "d"}, "spec": {"color": "blue"}}
    say("dynamic create", widgets.create(body=body, namespace=NAMESPACE).spec.color)
    say("dynamic get", widgets.get(name="d", namespace=NAMESPACE).spec.size)
    applied = widgets.server_side_apply(
        body={**body, "spec": {"color": "green"}}, name="d", namespace=NAMESPACE, field_manager="py", force_conflicts=True
    )
    say("dynamic apply", applied.spec.color)
    patched = widgets.patch(body={"spec": {"size": 2}}, name="d", namespace=NAMESPACE, content_type="application/merge-patch+json")
    say("dynamic patch", patched.spec.size)
    plans = api.resources.get(api_version="forklift.konveyor.io/v1beta1", kind="Plan")
    say("dynamic plans", plans.namespaced, plans.name, plans.subresources is not None)
    say("dynamic delete", widgets.delete(name="d", namespace=NAMESPACE).status)


main(sys.argv[1])
