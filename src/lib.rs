//! `mtv-matrix`: end-to-end test matrices for the Migration Toolkit for Virtualization.
//!
//! The rooms of the house, lowest floor first. A room may import from floors below its own;
//! `tests/architecture.rs` holds that.
//!
//! ```text
//! 4   cli
//! 3   engine        cleanup       doctor
//! 2   migration
//! 1   source        forklift      check        cluster       report        lab
//! 0   config   matrix   api   event   ledger
//! ```

#![recursion_limit = "256"]

pub mod api;
pub mod check;
pub mod cleanup;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod event;
pub mod forklift;
pub mod lab;
pub mod ledger;
pub mod matrix;
pub mod migration;
pub mod report;
pub mod source;
