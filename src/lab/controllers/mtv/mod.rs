//! The lab's MTV.

pub mod platform;
pub mod vsphere_client;
