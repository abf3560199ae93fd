//! `mtv-matrix`: end-to-end test matrices for the Migration Toolkit for Virtualization.
//!
//! The rooms of the house, lowest floor first. A room may import from floors below its own;
//! `tests/architecture.rs` holds that.
//!
//! ```text
//! 6   cli
//! 5   engine
//! 4   migration
//! 3   cleanup       doctor
//! 2   source        forklift      check        cluster       report      send
//! 1   matrix        ledger
//! 0   config        net
//! ```
//! `api` (what runner and lab both speak) and `lab` (the simulated world) are packages of their own.

#![recursion_limit = "256"]
// They panic where nobody reads any more; `cli::show` writes to the terminal.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod check;
pub mod cleanup;
pub mod cli;
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

/// What runner and lab share: a package of its own.
pub use mtv_matrix_api as api;
pub use mtv_matrix_api::event;
/// The simulated world: a package of its own, started by `cli` alone.
pub use mtv_matrix_lab as lab;
