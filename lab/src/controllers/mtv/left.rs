//! What a migration leaves beside itself, in a lab where somebody looks.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{Lab, LabOptions};

const SOON: Duration = Duration::from_secs(20);

struct Here {
    lab: Lab,
}

impl Here {
    /// A lab with the namespace `mig`, a vCenter `vc` in it, and a map of networks.
    async fn with(version: &str) -> Self {
        Self::of(LabOptions { mtv_version: version.to_owned(), ..LabOptions::default() }).await
    }

    async fn of(options: LabOptions) -> Self {
        Self::at(3000.0, options).await
    }

    async fn at(clock_scale: f64, options: LabOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = LabOptions { clock_scale, events: true, ..options };
        let here = Self { lab: Lab::start(options).await.unwrap() };
        let namespaces: Api<DynamicObject> = Api::all_with(here.lab.client(), &resource("Namespace"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mig"}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        let told: Value = serde_json::from_str(&here.lab.providers_json()).unwrap();
        let login =
            json!({"user": "administrator@vsphere.local", "password": "lab-vsphere", "insecureSkipVerify": "true"});
        here.make("Secret", "vc", json!({"stringData": login})).await;
        let secret = json!({"name": "vc", "namespace": "mig"});
        let spec = json!({"type": "vsphere", "url": told["vsphere"]["api_url"], "secret": secret});
        here.make("Provider", "vc", json!({"spec": spec})).await;
        here.until("Provider", "vc", "Ready").await;
        let pod = json!([{"source": {"name": "VM Network"}, "destination": {"type": "pod"}}]);
        here.make("NetworkMap", "m", json!({"spec": {"provider": pair(), "map": pod}})).await;
        here
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.lab.client(), "mig")
    }

    fn objects(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.lab.client(), "mig", &resource(kind))
    }

    async fn make(&self, kind: &str, name: &str, mut body: Value) {
        let of = resource(kind);
        (body["apiVersion"], body["kind"]) = (json!(of.api_version), json!(kind));
        body["metadata"] = json!({"name": name});
        let body = serde_json::from_value(body).unwrap();
        self.objects(kind).create(&PostParams::default(), &body).await.unwrap();
    }

    /// The object, as soon as a condition of it holds.
    async fn until(&self, kind: &str, name: &str, condition: &str) -> Value {
        let api = self.objects(kind);
        let began = std::time::Instant::now();
        loop {
            let now = api.get(name).await.unwrap().data;
            let mut all = now["status"]["conditions"].as_array().into_iter().flatten();
            if all.any(|one| one["type"] == condition && one["status"] == "True") {
                return now;
            }
            assert!(began.elapsed() < SOON, "{kind} {name} is not {condition}: {now:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Migrates a VM by a Plan `p`, to its end.
    async fn migrate(&self, row: Value, hooks: Value, ends: &str) -> Value {
        self.make("StorageMap", "m", json!({"spec": {"provider": pair(), "map": [row]}})).await;
        let map = json!({"name": "m", "namespace": "mig"});
        let spec = json!({"provider": pair(), "targetNamespace": "mig", "map": {"storage": map, "network": map},
            "vms": [{"name": "mtv-tests-rhel8", "hooks": hooks}]});
        self.make("Plan", "p", json!({"spec": spec})).await;
        self.until("Plan", "p", "Ready").await;
        self.make("Migration", "go", json!({"spec": {"plan": map_of("p")}})).await;
        self.until("Migration", "go", ends).await
    }

    async fn pods(&self, begins: &str) -> Vec<Pod> {
        let mut all = self.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        all.retain(|pod| pod.name_any().starts_with(begins));
        all
    }

    async fn log(&self, pod: &Pod) -> String {
        self.api::<Pod>().logs(&pod.name_any(), &Default::default()).await.unwrap()
    }

    async fn reasons(&self) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        events.into_iter().filter_map(|event| event.reason).collect()
    }
}

fn map_of(name: &str) -> Value {
    json!({"name": name, "namespace": "mig"})
}

fn pair() -> Value {
    json!({"source": map_of("vc"), "destination": {"name": "host", "namespace": "openshift-mtv"}})
}

fn resource(kind: &str) -> ApiResource {
    let group = if matches!(kind, "Namespace" | "Secret") { ("", "v1") } else { ("forklift.konveyor.io", "v1beta1") };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group.0, group.1, kind))
}

fn terminated(pod: &Pod) -> Value {
    json!(pod.status)["containerStatuses"][0]["state"]["terminated"].clone()
}

fn offloaded(secret: &str) -> Value {
    json!({"source": {"name": "datastore1"}, "destination": {"storageClass": CLASS, "accessMode": "ReadWriteOnce"},
        "offloadPlugin": {"vsphereXcopyConfig": {"secretRef": secret, "storageVendorProduct": "ontap"}}})
}

const CLASS: &str = "ocs-storagecluster-ceph-rbd-virtualization";

#[tokio::test]
async fn a_populator_that_failed_leaves_its_pod_with_its_log_and_its_claim_tells_of_it() {
    let here = Here::with("2.12").await;
    let login = json!({"STORAGE_HOSTNAME": "array.lab.example", "STORAGE_USERNAME": "lab", "STORAGE_PASSWORD": "no"});
    here.make("Secret", "array", json!({"stringData": login})).await;
    here.migrate(offloaded("array"), json!([]), "Failed").await;
    let pods = here.pods("populate-").await;
    let [pod] = pods.as_slice() else { panic!("{pods:#?}") };
    let ended = terminated(pod);
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!("Error"), &json!(1)), "{ended}");
    assert!(ended["startedAt"].is_string(), "{ended}");
    let log = here.log(pod).await;
    assert!(log.lines().last().is_some_and(|line| line.starts_with('F')), "{log}");
    let reasons = here.reasons().await;
    for reason in ["PopulatorCreated", "PopulatorFailed"] {
        assert!(reasons.iter().any(|own| own == reason), "{reason} is not in {reasons:?}");
    }
    here.lab.stop().await;
}

#[tokio::test]
async fn a_storage_secret_that_is_not_there_is_told_in_the_api_servers_words_alone() {
    let here = Here::with("2.12").await;
    let ended = here.migrate(offloaded("none"), json!([]), "Failed").await.to_string();
    let words = r#"failed to get storage secret: secrets \"none\" not found""#;
    assert!(ended.contains(words) && !ended.contains("ApiError"), "{ended}");
    here.lab.stop().await;
}

#[tokio::test]
async fn a_hooks_job_has_one_pod_which_prints_what_its_playbook_says() {
    let here = Here::with("2.11").await;
    // `debug` does nothing; `fail` says why.
    let playbooks = [
        ("goes", "LSBob3N0czogbG9jYWxob3N0CiAgdGFza3M6IFtdCg=="),
        (
            "fails",
            "LSBob3N0czogbG9jYWxob3N0CiAgdGFza3M6CiAgICAtIG5hbWU6IHN0b3AKICAgICAgZmFpbDogeyBtc2c6IG5vIHJvb20gfQo=",
        ),
    ];
    for (name, playbook) in playbooks {
        here.make("Hook", name, json!({"spec": {"image": "quay.io/lab/hook", "playbook": playbook}})).await;
    }
    let hooks = json!([{"step": "PreHook", "hook": map_of("goes")}, {"step": "PostHook", "hook": map_of("fails")}]);
    let row = json!({"source": {"name": "datastore1"}, "destination": {"storageClass": CLASS}});
    here.migrate(row, hooks, "Failed").await;
    let jobs = here.api::<Job>().list(&ListParams::default().labels("resource=hook-config")).await.unwrap().items;
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    let done = jobs.iter().find(|job| job.name_any().contains("prehook")).unwrap();
    let status = done.status.clone().unwrap();
    assert_eq!((status.active, status.succeeded), (None, Some(1)));
    let pods = here.pods(&done.name_any()).await;
    let [pod] = pods.as_slice() else { panic!("{pods:#?}") };
    assert_eq!(terminated(pod)["reason"], "Completed");
    assert!(here.log(pod).await.contains("failed=0"));
    assert!(pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
    // A Job tries once more (its `backoffLimit` is 1), and that is all.
    let failed = jobs.iter().find(|job| job.name_any().contains("posthook")).unwrap();
    let pods = here.pods(&failed.name_any()).await;
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(terminated(pod)["reason"], "Error");
        assert!(here.log(pod).await.contains("\"msg\": \"no room\""));
    }
    let maps = here.api::<ConfigMap>().list(&ListParams::default().labels("step=PostHook")).await.unwrap().items;
    let [map] = maps.as_slice() else { panic!("{maps:#?}") };
    assert!(map.data.as_ref().unwrap()["playbook.yml"].contains("no room"));
    assert_eq!(map.owner_references()[0].name, failed.name_any());
    // What converted the guest ran somewhere, and says when.
    let v2v = here.pods("p-").await.into_iter().find(|pod| pod.labels().get("forklift.app").is_some()).unwrap();
    assert!(v2v.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
    assert!(v2v.status.as_ref().is_some_and(|status| status.pod_ip.is_some()));
    assert!(terminated(&v2v)["startedAt"].is_string());
    let spec = json!(v2v.spec);
    let names: Vec<&str> = spec["volumes"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"vddk-vol-mount") && names.len() > 1, "{names:?}");
    assert_eq!(spec["initContainers"][0]["name"], "vddk-side-car");
    here.lab.stop().await;
}

#[tokio::test]
async fn a_populator_that_filled_its_claim_goes_with_its_arrived_vm_and_up_to_2_11_when_its_plan_is_archived() {
    let login = json!({"STORAGE_HOSTNAME": "array.lab.example", "STORAGE_USERNAME": "lab",
        "STORAGE_PASSWORD": "lab-array"});
    let new = Here::with("2.12").await;
    new.make("Secret", "array", json!({"stringData": login})).await;
    new.migrate(offloaded("array"), json!([]), "Succeeded").await;
    let gone = new.pods("populate-").await;
    assert!(gone.is_empty(), "{gone:#?}");
    let reasons = new.reasons().await;
    assert!(reasons.iter().any(|own| own == "PopulatorFinished"), "{reasons:?}");
    new.lab.stop().await;

    let old = Here::with("2.11").await;
    old.make("Secret", "array", json!({"stringData": login})).await;
    old.migrate(offloaded("array"), json!([]), "Succeeded").await;
    let pods = old.pods("populate-").await;
    let [pod] = pods.as_slice() else { panic!("{pods:#?}") };
    assert_eq!(terminated(pod)["reason"], "Completed");
    let archives = Patch::Merge(json!({"spec": {"archived": true}}));
    old.objects("Plan").patch("p", &PatchParams::default(), &archives).await.unwrap();
    old.until("Plan", "p", "Archived").await;
    let gone = old.pods("populate-").await;
    assert!(gone.is_empty(), "{gone:#?}");
    old.lab.stop().await;
}

#[tokio::test]
async fn a_hook_runs_where_no_kubelet_is_by_the_one_pod_of_its_job() {
    let here = Here::of(LabOptions { nodes: false, ..LabOptions::default() }).await;
    let playbook = "LSBob3N0czogbG9jYWxob3N0CiAgdGFza3M6IFtdCg==";
    here.make("Hook", "goes", json!({"spec": {"image": "quay.io/lab/hook", "playbook": playbook}})).await;
    let row = json!({"source": {"name": "datastore1"}, "destination": {"storageClass": CLASS}});
    here.migrate(row, json!([{"step": "PreHook", "hook": map_of("goes")}]), "Succeeded").await;
    let jobs = here.api::<Job>().list(&ListParams::default().labels("resource=hook-config")).await.unwrap().items;
    let [job] = jobs.as_slice() else { panic!("{jobs:#?}") };
    let pods = here.pods(&job.name_any()).await;
    let [pod] = pods.as_slice() else { panic!("{pods:#?}") };
    assert_eq!(terminated(pod)["reason"], "Completed");
    here.lab.stop().await;
}

#[tokio::test]
async fn the_pod_of_virt_v2v_that_is_killed_is_made_again_and_up_to_2_11_its_vm_fails() {
    for (version, ends) in [("2.12", "Succeeded"), ("2.11", "Failed")] {
        let here = Here::at(300.0, LabOptions { mtv_version: version.to_owned(), ..LabOptions::default() }).await;
        let v2v = || async {
            let own = ListParams::default().labels("forklift.app=virt-v2v");
            here.api::<Pod>().list(&own).await.unwrap().items
        };
        let kills = async {
            let began = std::time::Instant::now();
            loop {
                if let [pod] = v2v().await.as_slice() {
                    let now = kube::api::DeleteParams::default().grace_period(0);
                    here.api::<Pod>().delete(&pod.name_any(), &now).await.unwrap();
                    return pod.uid();
                }
                assert!(began.elapsed() < SOON, "there is no pod of virt-v2v");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let row = json!({"source": {"name": "datastore1"}, "destination": {"storageClass": CLASS}});
        let (killed, migration) = tokio::join!(kills, here.migrate(row, json!([]), ends));
        let left = v2v().await;
        if ends == "Succeeded" {
            let [pod] = left.as_slice() else { panic!("{left:#?}") };
            assert_ne!(pod.uid(), killed);
            assert_eq!(terminated(pod)["reason"], "Completed");
        } else {
            assert!(left.is_empty(), "{left:#?}");
            assert!(migration.to_string().contains("Guest conversion pod not found"), "{migration}");
        }
        here.lab.stop().await;
    }
}
