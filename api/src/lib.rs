//! Resource types, names and events: the vocabulary that runner and lab share.
//!
//! No I/O happens here, and nothing here knows another package of ours. The Kubernetes types
//! are narrow: they hold the fields we read or write, tolerate everything else, and never refuse
//! an object because it has a field we do not know.

pub mod cdi;
pub mod condition;
pub mod event;
pub mod forklift;
pub mod kubevirt;
pub mod multus;
pub mod names;
pub mod openshift;
pub mod pem;
pub mod pods;
pub mod quantity;
pub mod text;
pub mod version;
pub mod vim;
pub mod vm;
pub mod world;
