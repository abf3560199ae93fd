//! What administrators' tools ask besides migrating.

use super::*;

#[tokio::test]
async fn a_datastore_is_searched_by_folder_and_pattern() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let search = |path: &str, pattern: &str| {
        format!("<datastorePath>{path}</datastorePath><searchSpec><matchPattern>{pattern}</matchPattern></searchSpec>")
    };
    let browser = ("HostDatastoreBrowser", "datastoreBrowser-datastore-10");
    let deep = search("[datastore1]", "*.vmdk");
    let info = client.run("SearchDatastoreSubFolders_Task", browser.0, browser.1, &deep).await.unwrap();
    let result = info.child("result").unwrap();
    assert_eq!(result.xsi_type.as_deref(), Some("ArrayOfHostDatastoreBrowserSearchResults"));
    let folders: Vec<&Node> = result.all("HostDatastoreBrowserSearchResults").collect();
    let of = |folder: &str| folders.iter().find(|found| found.text("folderPath") == Some(folder)).unwrap();
    let files =
        of("[datastore1] mtv-tests-rhel8/").all("file").map(|file| file.text("path").unwrap()).collect::<Vec<_>>();
    assert_eq!(files, ["mtv-tests-rhel8.vmdk"]);
    let flat = search("[datastore1] mtv-tests-rhel8", "*");
    let info = client.run("SearchDatastore_Task", browser.0, browser.1, &flat).await.unwrap();
    let result = info.child("result").unwrap();
    assert_eq!(result.text("folderPath"), Some("[datastore1] mtv-tests-rhel8/"));
    assert!(result.all("file").any(|file| file.text("path") == Some("mtv-tests-rhel8.vmx")));
    let gone = client.run("SearchDatastore_Task", browser.0, browser.1, &search("[datastore1] nobody", "*")).await;
    assert_eq!(gone.unwrap_err(), "FileNotFound");
}

#[tokio::test]
async fn a_vm_is_suspended_reset_and_taken_back_to_a_snapshot() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let vm = client.world.read(|state| state.vm_by_name("mtv-tests-rhel8").unwrap().id.clone());
    let power = async || {
        let object = client.read("VirtualMachine", &vm, &["runtime.powerState"]).await;
        value(&object, "runtime.powerState").unwrap().text.clone()
    };
    assert_eq!(client.run("ResetVM_Task", "VirtualMachine", &vm, "").await.unwrap_err(), "InvalidPowerState");
    client.run("PowerOnVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    client.run("ResetVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    client.run("SuspendVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    assert_eq!(power().await, "suspended");
    client.run("PowerOnVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    let make = "<name>before</name><memory>false</memory><quiesce>false</quiesce>";
    let made = client.run("CreateSnapshot_Task", "VirtualMachine", &vm, make).await.unwrap();
    let snapshot = made.child("result").unwrap().text.clone();
    client.run("RevertToSnapshot_Task", "VirtualMachineSnapshot", &snapshot, "").await.unwrap();
    assert_eq!(power().await, "poweredOff", "no snapshot here holds memory");
    let current = client.world.read(|state| state.vm(&vm).unwrap().current_snapshot.clone());
    assert_eq!(current, Some(snapshot));
}

#[tokio::test]
async fn performance_licenses_logs_roles_and_folders_are_told() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let content = client.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance", "").await.unwrap();
    let content = content.child("returnval").unwrap();
    assert_eq!(content.text("perfManager"), Some("PerfMgr"));
    let counters = client.read("PerformanceManager", "PerfMgr", &["perfCounter"]).await;
    assert!(value(&counters, "perfCounter").unwrap().all("PerfCounterInfo").count() > 5);
    let host = client.world.read(|state| state.hosts[0].id.clone());
    let spec = format!(
        "<querySpec><entity type=\"HostSystem\">{host}</entity><maxSample>3</maxSample><metricId><counterId>2</counterId>\
         <instance/></metricId><intervalId>20</intervalId></querySpec>"
    );
    let told = client.call("QueryPerf", "PerformanceManager", "PerfMgr", &spec).await.unwrap();
    let series = told.child("returnval").unwrap();
    assert_eq!(series.xsi_type.as_deref(), Some("PerfEntityMetric"));
    assert_eq!(series.child("value").unwrap().all("value").count(), 3);
    let licenses = client.read("LicenseManager", "LicenseManager", &["licenses"]).await;
    assert_eq!(value(&licenses, "licenses").unwrap().all("LicenseManagerLicenseInfo").count(), 1);
    let roles = client.read("AuthorizationManager", "AuthorizationManager", &["roleList"]).await;
    assert_eq!(value(&roles, "roleList").unwrap().all("AuthorizationRole").count(), 5);
    client.call("QueryDescriptions", "DiagnosticManager", "DiagMgr", "").await.unwrap();
    let root = client.world.read(|state| {
        state.folders.values().find(|folder| folder.kind == crate::world::FolderKind::Vm).unwrap().id.clone()
    });
    client.call("CreateFolder", "Folder", &root, "<name>erp</name>").await.unwrap();
    assert_eq!(client.call("CreateFolder", "Folder", &root, "<name>erp</name>").await.unwrap_err(), "DuplicateName");
}

#[tokio::test]
async fn tasks_are_read_page_by_page_and_filtered() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let vm = client.world.read(|state| state.vm_by_name("mtv-tests-rhel8").unwrap().id.clone());
    client.run("PowerOnVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    client.run("PowerOffVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    assert_eq!(client.run("PowerOffVM_Task", "VirtualMachine", &vm, "").await.unwrap_err(), "InvalidPowerState");
    let collector = async |filter: &str| {
        let filter = format!("<filter>{filter}</filter>");
        let made = client.call("CreateCollectorForTasks", "TaskManager", "TaskManager", &filter).await.unwrap();
        made.child("returnval").unwrap().text.clone()
    };
    let read = async |id: &str, what: &str, count: usize| {
        let many = format!("<maxCount>{count}</maxCount>");
        let answer = client.call(what, "TaskHistoryCollector", id, &many).await.unwrap();
        answer.all("returnval").map(|info| info.text("name").unwrap().to_owned()).collect::<Vec<_>>()
    };
    let recent = client.read("TaskManager", "TaskManager", &["recentTask"]).await;
    assert_eq!(
        value(&recent, "recentTask").unwrap().all("ManagedObjectReference").count(),
        3,
        "what has ended is told"
    );
    let all = collector("").await;
    assert_eq!(read(&all, "ReadNextTasks", 2).await, ["PowerOnVM_Task", "PowerOffVM_Task"]);
    assert_eq!(read(&all, "ReadNextTasks", 9).await, ["PowerOffVM_Task"]);
    assert_eq!(read(&all, "ReadPreviousTasks", 1).await, ["PowerOffVM_Task"]);
    let page = client.read("TaskHistoryCollector", &all, &["latestPage"]).await;
    assert_eq!(value(&page, "latestPage").unwrap().all("TaskInfo").count(), 3);
    let failed = collector("<state>error</state>").await;
    assert_eq!(read(&failed, "ReadNextTasks", 9).await.len(), 1);
    let elsewhere =
        collector("<entity><entity type=\"VirtualMachine\">vm-nobody</entity><recursion>self</recursion></entity>")
            .await;
    assert!(read(&elsewhere, "ReadNextTasks", 9).await.is_empty());
    client.call("DestroyCollector", "TaskHistoryCollector", &all, "").await.unwrap();
    let gone = client.call("ReadNextTasks", "TaskHistoryCollector", &all, "<maxCount>1</maxCount>").await;
    assert_eq!(gone.unwrap_err(), "ManagedObjectNotFound");
}

#[tokio::test]
async fn folders_take_vms_in_are_renamed_and_go_with_what_is_in_them() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let (vm, root) = client.world.read(|state| {
        let vm = state.vm_by_name("mtv-tests-rhel8").unwrap();
        (vm.id.clone(), vm.folder.clone())
    });
    let made = client.call("CreateFolder", "Folder", &root, "<name>erp</name>").await.unwrap();
    let folder = made.child("returnval").unwrap().text.clone();
    let inner = client.call("CreateFolder", "Folder", &folder, "<name>inner</name>").await.unwrap();
    let inner = inner.child("returnval").unwrap().text.clone();
    let list = |kind: &str, id: &str| format!("<list type=\"{kind}\">{id}</list>");
    client.run("MoveIntoFolder_Task", "Folder", &inner, &list("VirtualMachine", &vm)).await.unwrap();
    assert_eq!(client.world.read(|state| state.vm(&vm).unwrap().folder.clone()), inner);
    let into_itself = client.run("MoveIntoFolder_Task", "Folder", &inner, &list("Folder", &folder)).await;
    assert_eq!(into_itself.unwrap_err(), "InvalidArgument");
    client.run("Rename_Task", "Folder", &folder, "<newName>erp-2</newName>").await.unwrap();
    client.run("PowerOnVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    assert_eq!(client.run("Destroy_Task", "Folder", &folder, "").await.unwrap_err(), "InvalidPowerState");
    client.run("PowerOffVM_Task", "VirtualMachine", &vm, "").await.unwrap();
    client.run("UnregisterAndDestroy_Task", "Folder", &folder, "").await.unwrap();
    assert!(client.world.read(|state| state.vm(&vm).is_err() && !state.folders.contains_key(&inner)));
    assert_eq!(client.run("Destroy_Task", "Folder", &root, "").await.unwrap_err(), "InvalidArgument");
}

#[tokio::test]
async fn hosts_and_clusters_tell_what_playbooks_read() {
    let client = Client::new(6000.0).await;
    client.login().await;
    let host = client.world.read(|state| state.hosts[0].id.clone());
    let parts = client.read("HostSystem", &host, &["configManager"]).await;
    let parts = value(&parts, "configManager").unwrap().clone();
    let (nics, storage) = (parts.text("virtualNicManager").unwrap(), parts.text("storageSystem").unwrap());
    let selected = async |kind: &str| {
        let asked = format!("<nicType>{kind}</nicType>");
        let answer = client.call("QueryNetConfig", "HostVirtualNicManager", nics, &asked).await?;
        Ok::<_, String>(answer.child("returnval").unwrap().all("selectedVnic").count())
    };
    assert_eq!((selected("management").await, selected("vmotion").await), (Ok(1), Ok(0)));
    assert_eq!(selected("gossip").await.unwrap_err(), "InvalidArgument");
    let mounts = client.read("HostStorageSystem", storage, &["fileSystemVolumeInfo"]).await;
    let stores = client.world.read(|state| state.datastores.len());
    assert_eq!(value(&mounts, "fileSystemVolumeInfo").unwrap().all("mountInfo").count(), stores);
    let cluster = client.world.read(|state| state.cluster.id.clone());
    let usage = client.call("GetResourceUsage", "ClusterComputeResource", &cluster, "").await.unwrap();
    assert!(usage.child("returnval").unwrap().number::<i64>("storageCapacityMB").unwrap() > 0);
}
