//! What the containers of Forklift's Deployments get from its operator: variables and files.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{INVENTORY_PORT, Surroundings};
use crate::MTV_NAMESPACE;

/// Below `/var/run/secrets`.
const ACCOUNT: &str = "kubernetes.io/serviceaccount";
const SERVING: &str = "forklift-serving-cert";

/// What does not change while Forklift runs.
#[derive(Debug, Clone)]
pub struct Context {
    pub api: SocketAddr,
    pub ocp_version: String,
}

/// How a setting of the ForkliftController becomes a variable of the main container, and the
/// operator's default. An empty default: no variable.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("controller_precopy_interval", "PRECOPY_INTERVAL", "60"),
    ("controller_blocker_grace_period_minutes", "BLOCKER_GRACE_PERIOD_MINUTES", "5"),
    ("controller_vddk_job_active_deadline_sec", "VDDK_JOB_ACTIVE_DEADLINE", "300"),
    ("controller_snapshot_removal_timeout_minuts", "SNAPSHOT_REMOVAL_TIMEOUT_MINUTES", "120"),
    ("controller_snapshot_status_check_rate_seconds", "SNAPSHOT_STATUS_CHECK_RATE_SECONDS", "10"),
    ("controller_cleanup_retries", "CLEANUP_RETRIES", "10"),
    ("controller_snapshot_removal_check_retries", "SNAPSHOT_REMOVAL_CHECK_RETRIES", "20"),
    ("controller_max_vm_inflight", "MAX_VM_INFLIGHT", "20"),
    ("controller_tls_connection_timeout_sec", "TLS_CONNECTION_TIMEOUT", "5"),
    ("controller_windows_reboot_timeout", "CONTROLLER_WINDOWS_REBOOT_TIMEOUT", "1800"),
    ("controller_max_concurrent_reconciles", "MAX_CONCURRENT_RECONCILES", "10"),
    ("controller_filesystem_overhead", "FILESYSTEM_OVERHEAD", "10"),
    ("controller_block_overhead", "BLOCK_OVERHEAD", "0"),
    ("vddk_image", "VDDK_IMAGE", ""),
    ("controller_vsphere_incremental_backup", "FEATURE_VSPHERE_INCREMENTAL_BACKUP", "true"),
    ("controller_ovirt_warm_migration", "FEATURE_OVIRT_WARM_MIGRATION", "true"),
    ("controller_static_udn_ip_addresses", "FEATURE_STATIC_UDN_IP_ADDRESSES", "true"),
    ("controller_retain_precopy_importer_pods", "FEATURE_RETAIN_PRECOPY_IMPORTER_PODS", "false"),
    ("controller_retain_populator_pods", "FEATURE_RETAIN_POPULATOR_PODS", "false"),
    ("feature_copy_offload", "FEATURE_COPY_OFFLOAD", "true"),
    ("feature_ocp_live_migration", "FEATURE_OCP_LIVE_MIGRATION", "true"),
    ("feature_vmware_system_serial_number", "FEATURE_VMWARE_SYSTEM_SERIAL_NUMBER", "true"),
    ("feature_vsphere_vmware_driver_removal", "FEATURE_VSPHERE_VMWARE_DRIVER_REMOVAL", "false"),
    ("feature_windows_registry_network_config", "FEATURE_WINDOWS_REGISTRY_NETWORK_CONFIG", "false"),
    ("feature_windows_wait_for_reboot", "FEATURE_WINDOWS_WAIT_FOR_REBOOT", "true"),
    ("feature_use_conversion_cr", "FEATURE_USE_CONVERSION_CR", "true"),
    ("feature_xfs_repair_ignore", "FEATURE_XFS_REPAIR_IGNORE", "false"),
];

/// Images that no lab pulls; their names show in pods.
const IMAGES: &[(&str, &str)] = &[
    ("VIRT_V2V_IMAGE", "lab/forklift-virt-v2v:latest"),
    ("VIRT_V2V_IMAGE_XFS", "lab/forklift-virt-v2v-xfs:latest"),
    ("DEEP_INSPECTION_IMAGE", "lab/forklift-deep-inspection:latest"),
    ("DEEP_INSPECTION_IMAGE_XFS", "lab/forklift-deep-inspection-xfs:latest"),
    ("OVA_PROVIDER_SERVER_IMAGE", "lab/forklift-ova-provider-server:latest"),
    ("HYPERV_PROVIDER_SERVER_IMAGE", "lab/forklift-hyperv-provider-server:latest"),
];

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn both(context: &Context) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| drop(env.insert(name.to_owned(), value.to_owned()));
    set("PATH", "/usr/local/bin:/usr/bin:/bin");
    set("POD_NAMESPACE", MTV_NAMESPACE);
    set("KUBERNETES_SERVICE_HOST", &context.api.ip().to_string());
    set("KUBERNETES_SERVICE_PORT", &context.api.port().to_string());
    set("KUBEVIRT_CLIENT_GO_SCHEME_REGISTRATION_VERSION", "v1");
    set("API_PORT", &INVENTORY_PORT.to_string());
    set("OPENSHIFT", "true");
    set("OPENSHIFT_VERSION", &context.ocp_version);
    set("LOG_LEVEL", "3");
    IMAGES.iter().for_each(|(name, image)| set(name, image));
    env
}

/// The main role's. Its own metrics it serves nowhere.
pub fn main(settings: &Value, context: &Context) -> BTreeMap<String, String> {
    let mut env = both(context);
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("ROLE", "main".to_owned());
    set("METRICS_PORT", "0".to_owned());
    set("API_HOST", context.api.ip().to_string());
    set("API_TLS_CA", format!("/var/run/secrets/{ACCOUNT}/ca.crt"));
    set("OVIRT_OS_MAP", super::objects::OVIRT_OS_MAP.to_owned());
    set("VSPHERE_OS_MAP", super::objects::VSPHERE_OS_MAP.to_owned());
    set("VIRT_CUSTOMIZE_MAP", super::objects::VIRT_CUSTOMIZE_MAP.to_owned());
    for (key, name, default) in SETTINGS {
        let value = settings.get(key).and_then(text).unwrap_or_else(|| (*default).to_owned());
        if !value.is_empty() {
            set(name, value);
        }
    }
    env
}

/// The inventory role's. Rules of the policy agent are not evaluated.
pub fn inventory(settings: &Value, context: &Context) -> BTreeMap<String, String> {
    let mut env = both(context);
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("ROLE", "inventory".to_owned());
    set("METRICS_PORT", "0".to_owned());
    set("AUTH_REQUIRED", settings.get("feature_auth_required").and_then(text).unwrap_or_else(|| "true".to_owned()));
    set("API_TLS_CERTIFICATE", format!("/var/run/secrets/{SERVING}/tls.crt"));
    set("API_TLS_KEY", format!("/var/run/secrets/{SERVING}/tls.key"));
    env
}

/// forklift-api's.
pub fn webhooks(context: &Context) -> BTreeMap<String, String> {
    let mut env = both(context);
    for prefix in ["API", "SERVICES"] {
        env.insert(format!("{prefix}_TLS_CERTIFICATE"), format!("/var/run/secrets/{SERVING}/tls.crt"));
        env.insert(format!("{prefix}_TLS_KEY"), format!("/var/run/secrets/{SERVING}/tls.key"));
    }
    env
}

/// The service account's files, and what everybody serves with.
pub fn files(around: &Surroundings<'_>, certificate: &str, key: &str) -> BTreeMap<String, String> {
    let file = |path: String, content: &str| (path, content.to_owned());
    BTreeMap::from([
        file(format!("{ACCOUNT}/token"), &around.token),
        file(format!("{ACCOUNT}/ca.crt"), &around.trusted),
        file(format!("{ACCOUNT}/service-ca.crt"), &around.trusted),
        file(format!("{ACCOUNT}/namespace"), MTV_NAMESPACE),
        file(format!("{SERVING}/tls.crt"), certificate),
        file(format!("{SERVING}/tls.key"), key),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_of_the_forklift_controller_becomes_its_variable_and_else_the_operators_default() {
        let context = Context { api: "127.0.0.1:6443".parse().unwrap(), ocp_version: "4.20.3".to_owned() };
        let env = main(&json!({"controller_precopy_interval": 1, "feature_copy_offload": "false"}), &context);
        let of = |name: &str| env.get(name).map(String::as_str);
        assert_eq!((of("PRECOPY_INTERVAL"), of("FEATURE_COPY_OFFLOAD")), (Some("1"), Some("false")));
        assert_eq!((of("MAX_VM_INFLIGHT"), of("VDDK_IMAGE")), (Some("20"), None));
    }
}
