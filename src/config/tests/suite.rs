//! The Python suite's own examples load as its documents have them: the same keys, forms and comments, our values. Its `#`
//! comments are no JSON; a key without effect is told, none is refused.

use super::{Platform, PlatformConfig, profiles};
use crate::config::EsxiCloneMethod;

/// As the example in its tree is written: every type, `#` behind values, blank keys where nothing is needed.
const EXAMPLE: &str = r##"{
  "vcenter-a": {
    "type": "vsphere",
    "version": "8.0.1",
    "fqdn": "vc-a.test.example",
    "api_url": "https://vc-a.test.example/sdk",
    "username": "mover@vsphere.local",
    "password": "Kx7#in-quotes",  # pragma: allowlist secret
    "guest_vm_linux_user": "root",
    "guest_vm_linux_password": "guest-pw",  # pragma: allowlist secret
    "guest_vm_win_user": "Administrator",
    "guest_vm_win_password": "guest-pw",  # pragma: allowlist secret
    "vddk_init_image": "registry.test.example/vddk:8.0.1"
  },

  "vcenter-b-array": {
    "type": "vsphere",
    "version": "8.0.3",
    "fqdn": "vc-b.test.example",
    "api_url": "https://vc-b.test.example/sdk",
    "username": "mover@vsphere.local",
    "password": "pw",  # pragma: allowlist secret
    "guest_vm_linux_user": "root",
    "guest_vm_linux_password": "guest-pw",  # pragma: allowlist secret
    "guest_vm_win_user": "Administrator",
    "guest_vm_win_password": "guest-pw",  # pragma: allowlist secret
    "copyoffload": {
      "storage_vendor_product": "ontap",  # or another vendor
      "datastore_id": "datastore-101",  # where clones go
      "secondary_datastore_id": "datastore-102",  # optional
      "template_name": "el9-base",
      "storage_hostname": "array.test.example",
      "storage_username": "mover",
      "storage_password": "array-pw",  # pragma: allowlist secret
      "ontap_svm": "svm7",  # of this vendor alone
      "esxi_clone_method": "ssh", # or "vib"
      "esxi_host": "esx-7.test.example", # for ssh
      "esxi_user": "root", # for ssh
      "esxi_password": "host-pw",  # pragma: allowlist secret # for ssh
      "rdm_lun_uuid": "naa.6006016012345678",  # optional
      "default_vm_name": "el9-of-mine"  # optional
    }
  },

  "rhv": {
    "type": "ovirt",
    "version": "4.4",
    "fqdn": "rhv.test.example",
    "api_url": "https://rhv.test.example/ovirt-engine/api",
    "username": "admin@internal",
    "password": "pw"  # pragma: allowlist secret
  },
  "stack": {
    "type": "openstack",
    "version": "17",
    "fqdn": "stack.test.example",
    "api_url": "https://stack.test.example:13000/v3",
    "username": "mover",
    "password": "pw",  # pragma: allowlist secret
    "user_domain_name": "Default",
    "region_name": "regionOne",
    "project_name": "moves",
    "user_domain_id": "default",
    "project_domain_id": "default",
    "guest_vm_linux_user": "cloud-user",
    "guest_vm_linux_password": "guest-pw"  # pragma: allowlist secret
  },
  "cluster": {
    "type": "openshift",
    "version": "4.20",
    "fqdn": "",
    "api_url": "",
    "username": "",
    "password": ""  # pragma: allowlist secret
  },
  "appliances": {
    "type": "ova",
    "version": "1", # any
    "fqdn": "",
    "api_url": "nfs.test.example:/appliances",
    "username": "nobody",
    "password": ""  # pragma: allowlist secret
  }
}
"##;

#[test]
fn the_example_of_the_suites_tree_loads_and_what_has_no_effect_is_told() {
    let (providers, warnings) = profiles(EXAMPLE);
    let types: Vec<Platform> = providers.values().map(|profile| profile.platform).collect();
    use Platform::{Openshift, Openstack, Ova, Ovirt, Vsphere};
    assert_eq!(types, [Ova, Openshift, Ovirt, Openstack, Vsphere, Vsphere], "{:?}", providers.keys());
    use secrecy::ExposeSecret as _;
    let password = providers["vcenter-a"].login.password.expose_secret();
    assert_eq!(password, "Kx7#in-quotes", "a # in quotes is no comment");
    let PlatformConfig::Vsphere(config) = &providers["vcenter-b-array"].config else { panic!("vsphere") };
    let section = config.copyoffload.as_ref().unwrap();
    assert_eq!(section.esxi_clone_method, Some(EsxiCloneMethod::Ssh));
    let login = section.host_login().unwrap().unwrap();
    assert_eq!((login.username.as_str(), section.esxi_host.as_deref()), ("root", Some("esx-7.test.example")));
    assert!(warnings.iter().all(|warning| !warning.contains("pw")), "{warnings:#?}");
}

/// Keys that later documents added.
const LATER: &str = r#"{
  "$schema": "./providers.schema.json",
  "vc": {
    "type": "vsphere", "version": "8.0.3", "fqdn": "vc.test.example", "api_url": "https://vc.test.example/sdk",
    "username": "u", "password": "p", "endpoint_type": "vcenter", "luks_passphrase": "opens",
    "copyoffload": {
      "storage_vendor_product": "powermax", "datastore_id": "datastore-1", "non_xcopy_datastore_id": "datastore-9",
      "resource_pool": "moves", "storage_hostname": "a", "storage_username": "u", "storage_password": "p",
      "powermax_symmetrix_id": "000197900123", "dedicated_migration_hosts": ["host-11", "host-12"],
      "storage_secret_extra": {"POWERMAX_PORT_GROUP_NAME": "pg", "STORAGE_SKIP_SSL_VERIFICATION": true, "NOTHING": null}
    }
  },
  "esx": {
    "type": "vsphere", "version": "8.0.3", "fqdn": "esx-7.test.example", "api_url": "https://esx-7.test.example/sdk",
    "username": "root", "password": "p", "endpoint_type": "esxi", "clone_provider": "vc"
  },
  "hv": {
    "type": "hyperv", "version": "2022", "fqdn": "hv.test.example", "username": "u", "password": "p",
    "smb_url": "//hv.test.example/vms", "smb_user": "s", "smb_password": "p"
  },
  "ocp": {
    "type": "openshift", "version": "4.20", "fqdn": "", "api_url": "", "username": "", "password": "",
    "host": "", "storage_class": "fast"
  }
}"#;

#[test]
fn keys_that_later_documents_added_load_and_a_host_finds_the_vcenter_that_clones_for_it() {
    let (providers, _) = profiles(LATER);
    assert_eq!(providers.keys().map(String::as_str).collect::<Vec<_>>(), ["esx", "hv", "ocp", "vc"]);
    let PlatformConfig::Vsphere(config) = &providers["esx"].config else { panic!("vsphere") };
    assert!(config.esxi && config.cloner.as_ref().is_some_and(|cloner| cloner.fqdn == "vc.test.example"));
    let PlatformConfig::Vsphere(vcenter) = &providers["vc"].config else { panic!("vsphere") };
    assert!(!vcenter.esxi && vcenter.cloner.is_none());
    assert_eq!(vcenter.copyoffload.as_ref().unwrap().dedicated_migration_hosts, ["host-11", "host-12"]);
}

#[test]
fn a_vcenter_that_is_to_clone_and_is_not_there_is_told_with_its_line() {
    let without = LATER.replace("\"clone_provider\": \"vc\"", "\"clone_provider\": \"vx\"");
    let told = super::refused_profiles(&without);
    assert!(told.contains("p.json:15: profile `esx`: `clone_provider`: there is no profile `vx`"), "{told}");
    let itself = LATER.replace("\"clone_provider\": \"vc\"", "\"clone_provider\": \"esx\"");
    assert!(super::refused_profiles(&itself).contains("`esx` is no vCenter"));
}
