//! `mtv-matrix`: end-to-end test matrices for the Migration Toolkit for Virtualization.
//!
//! The rooms of the house, lowest floor first. A room may import from floors below its own;
//! `tests/suite/architecture.rs` holds that.
//!
//! ```text
//! 6   cli
//! 5   engine
//! 4   migration
//! 3   cleanup       doctor
//! 2   source        forklift      check        cluster       report      send
//! 1   matrix        ledger
//! 0   config        net           clock        tasks
//! ```
//! `api` (what runner and lab both speak) and `lab` (the simulated world) are packages of their own.

#![recursion_limit = "256"]
// What clippy.toml disallows holds for the program; its tests have servers and clocks of their own.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod check;
pub mod cleanup;
pub mod cli;
pub(crate) mod clock;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod forklift;
pub mod ledger;
pub mod matrix;
pub mod migration;
pub mod net;
pub mod report;
pub mod send;
pub mod source;
pub(crate) mod tasks;

/// What runner and lab share: a package of its own.
pub use mtv_matrix_api as api;
pub use mtv_matrix_api::event;
/// The simulated world: a package of its own, started by `cli` alone.
pub use mtv_matrix_lab as lab;
