//! Reading fields of inventory JSON: missing ones are empty, never an error.

use serde_json::Value;

use crate::api::vm::{CpuTopology, GuestOs};

pub(super) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The id in a reference such as `{"kind": …, "id": …}`; a plain text is the id itself.
pub(super) fn id_in<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).map(|reference| reference.as_str().unwrap_or_else(|| text(reference, "id"))).unwrap_or_default()
}

pub(super) fn number(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or_default()
}

pub(super) fn items<'a>(object: &'a Value, key: &str) -> std::slice::Iter<'a, Value> {
    object.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter()
}

/// Sockets and cores of `cpus` virtual CPUs; 0 cores a socket mean 1. `None` where nothing is told.
pub(super) fn topology(cpus: u64, cores_per_socket: u64) -> Option<CpuTopology> {
    let cores = cores_per_socket.max(1);
    let sockets = u32::try_from(cpus / cores).ok().filter(|sockets| *sockets > 0)?;
    Some(CpuTopology { sockets, cores: u32::try_from(cores).ok()?, threads: 1 })
}

/// The guest's family by what the platform calls its system; where it says nothing, MTV goes by the
/// VM's name, so only a name that says Windows tells anything.
pub(super) fn guest_os(system: &str, name: &str) -> GuestOs {
    let (system, name) = (system.to_lowercase(), name.to_lowercase());
    let windows = |text: &str| text.contains("win") && !text.contains("darwin");
    if windows(&system) || (system.is_empty() && windows(&name)) {
        GuestOs::Windows
    } else if system.is_empty() {
        GuestOs::Unknown
    } else {
        GuestOs::Linux
    }
}
