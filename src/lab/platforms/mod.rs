//! Source platforms over one world.

pub mod vsphere;
pub mod world;
