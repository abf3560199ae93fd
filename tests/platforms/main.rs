//! Each source platform: its driver, the binary against the lab, and its official client where there
//! is one. One binary, so that the platforms wait side by side.

#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

#[path = "../common/mod.rs"]
mod common;

mod inventory_only;
mod openshift;
mod openstack;
mod ova;
mod ovirt;
mod sdk_openstack;
mod sdk_ovirt;
