//! What the lab's MTV leaves to be looked at beside a migration's volumes and pods, by the real kubectl: Conversions, Jobs,
//! populators' objects, Secrets. Skipped, with a line that says so, where there is no kubectl.

use super::lab::{Server, maps_and_plan, migrate, no_kubectl, planned};

fn archive(lab: &Server) {
    lab.kubectl(&["patch", "plan", "p", "-n", "mig", "--type=merge", "-p", r#"{"spec":{"archived":true}}"#]);
    lab.kubectl(&["wait", "--for=condition=Archived", "plan/p", "-n", "mig", "--timeout=10s"]);
}

#[test]
fn a_conversion_tells_of_each_virt_v2v_pod_and_goes_with_the_archived_plan() {
    if no_kubectl() {
        return;
    }
    let lab = Server::with(&["--mtv-version", "2.12"]);
    planned(&lab, "");
    let job = lab.kubectl(&[
        "get",
        "jobs",
        "-n",
        "mig-target",
        "-o",
        "jsonpath={.items[*].metadata.name} {.items[*].status.succeeded}",
    ]);
    assert!(job.starts_with("vddk-validator-p") && job.ends_with(" 1"), "{job}");
    migrate(&lab, "go", "Succeeded");
    let rows = lab.kubectl(&["get", "conversions", "-n", "mig"]);
    let words = |line: usize| rows.lines().nth(line).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["NAME", "TYPE", "PHASE", "STAGE", "READY", "AGE"]);
    assert_eq!(words(1)[1..5], ["Remote", "Succeeded", "Finished", "True"], "{rows}");
    let name = words(1)[0];
    let pod = lab.kubectl(&["get", "conversion", name, "-n", "mig", "-o", "jsonpath={.status.pod.name}"]);
    let told = lab.kubectl(&["get", "pod", &pod, "-n", "mig-target", "-o", "jsonpath={.metadata.labels.conversion}"]);
    assert_eq!(told, name);
    let claims = lab.kubectl(&["get", "pvc", "-n", "mig-target", "-o", "jsonpath={.items[*].metadata.name}"]);
    let disks = lab.kubectl(&["get", "conversion", name, "-n", "mig", "-o", "jsonpath={.spec.disks[*].name}"]);
    assert_eq!(disks, claims);
    let secrets = |selector: &str| lab.kubectl(&["get", "secrets", "-n", "mig-target", "-l", selector, "-o", "name"]);
    assert_eq!(secrets("plan"), "", "they are there while the disks are copied");
    archive(&lab);
    for (kind, namespace) in [("conversions", "mig"), ("jobs", "mig-target"), ("pods", "mig-target")] {
        assert_eq!(lab.kubectl(&["get", kind, "-n", namespace, "-o", "name"]), "", "{kind}");
    }
    lab.kubectl(&["get", "vm", "mtv-tests-rhel8", "-n", "mig-target"]);
}

#[test]
fn up_to_2_11_there_are_no_conversions() {
    if no_kubectl() {
        return;
    }
    let lab = Server::with(&["--mtv-version", "2.11"]);
    planned(&lab, "");
    migrate(&lab, "go", "Succeeded");
    assert!(lab.try_kubectl(&["get", "conversions", "-n", "mig"]).unwrap_err().contains("have a resource type"));
}

#[test]
fn a_warm_plan_is_refused_where_nobody_made_an_image_of_vddk() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    planned(&lab, "");
    let controller = ["-n", "openshift-mtv", "forkliftcontroller", "forklift-controller", "--type=merge", "-p"];
    lab.kubectl(&[&["patch"], &controller[..], &[r#"{"spec":{"vddk_image":""}}"#]].concat());
    lab.kubectl(&["patch", "plan", "p", "-n", "mig", "--type=merge", "-p", r#"{"spec":{"warm":true}}"#]);
    lab.kubectl(&["wait", "--for=condition=VDDKInitImageUnavailable", "plan/p", "-n", "mig", "--timeout=10s"]);
    let said = lab.kubectl(&["get", "plan", "p", "-n", "mig", "-o", "jsonpath={.status.conditions[*].message}"]);
    let why = "VDDK image not set on the provider, this is required for the warm migration";
    assert!(said.contains(why), "{said}");
    // The Provider's own image will do.
    let own = r#"{"spec":{"settings":{"vddkInitImage":"quay.example/vddk:8"}}}"#;
    lab.kubectl(&["patch", "provider", "vc", "-n", "mig", "--type=merge", "-p", own]);
    let image = "jsonpath={.items[*].metadata.annotations.vddk}";
    super::lab::eventually("another image is looked at", || {
        lab.kubectl(&["get", "jobs", "-n", "mig-target", "-o", image]).contains("quay.example/vddk:8")
    });
}

/// A migration in which a populator copies the disk, seen while it does.
fn populated(platform: &str, secret: &str, storage: &str, network: &str, vm: &str, kind: &str) {
    let lab = Server::with(&["--mtv-version", "2.12", "--clock-scale", "60"]);
    lab.kubectl(&["create", "namespace", "mig"]);
    let profiles: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(lab.file("providers.json")).unwrap()).unwrap();
    let url = profiles[platform]["api_url"].as_str().unwrap();
    lab.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: vc, namespace: mig}}\nstringData: {{{secret}, insecureSkipVerify: 'true'}}\n---\napiVersion: forklift.konveyor.io/v1beta1\nkind: Provider\nmetadata: {{name: vc, namespace: mig}}\nspec: {{type: {platform}, url: '{url}', secret: {{name: vc, namespace: mig}}}}\n"
    ));
    lab.kubectl(&["wait", "--for=condition=Ready", "provider/vc", "-n", "mig", "--timeout=20s"]);
    lab.apply(&format!(
        "{}---\napiVersion: forklift.konveyor.io/v1beta1\nkind: Migration\nmetadata: {{name: go, namespace: mig}}\nspec: {{plan: {{name: p, namespace: mig}}}}\n",
        maps_and_plan(storage, network, vm)
    ));
    lab.kubectl(&["wait", "--for=create", "namespace/mig-target", "--timeout=20s"]);
    lab.kubectl(&["wait", "--for=create", "pod", "-l", "vmID", "-n", "mig-target", "--timeout=20s"]);
    let of = "jsonpath={.items[0].spec.dataSourceRef.kind} {.items[0].spec.dataSourceRef.name}";
    let of = lab.kubectl(&["get", "pvc", "-n", "mig-target", "-o", of]);
    let (told, name) = of.split_once(' ').unwrap();
    assert_eq!(told, kind);
    let at = ["get", kind, name, "-n", "mig-target", "-o"];
    let get = |path: &str| lab.kubectl(&[&at[..], &[path]].concat());
    let secret = get("jsonpath={.spec.engineSecretName}{.spec.secretName}");
    lab.kubectl(&["get", "secret", &secret, "-n", "mig-target"]);
    super::lab::eventually("it tells how far it is", || !get("jsonpath={.status.progress}").is_empty());
    lab.kubectl(&["wait", "--for=condition=Succeeded", "migration/go", "-n", "mig", "--timeout=60s"]);
    assert_eq!(lab.kubectl(&["get", kind, "-n", "mig-target", "-o", "name"]), "");
    assert!(lab.try_kubectl(&["get", "secret", &secret, "-n", "mig-target"]).is_err());
}

#[test]
fn a_populators_object_tells_what_is_copied_from_ovirt() {
    if !no_kubectl() {
        let secret = "user: admin@internal, password: lab-ovirt";
        populated("ovirt", secret, "data-fc", "ovirtmgmt", "ovirt-standby", "OvirtVolumePopulator");
    }
}

#[test]
fn a_populators_object_tells_which_image_is_copied_from_openstack() {
    if !no_kubectl() {
        let secret = "username: mtv-admin, password: lab-openstack, projectName: mtv, domainName: Default, regionName: RegionOne, authType: password";
        populated("openstack", secret, "ceph-ssd", "vm-network", "mtv-tests-rhel8", "OpenstackVolumePopulator");
    }
}
