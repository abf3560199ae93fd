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
