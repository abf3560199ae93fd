//! The program against the lab, and the rules of the house: what users see, one module a subject.
//!
//! One binary: nearly all of these wait on the lab's clock, so that more of them than there are cores run side by side
//! (`.cargo/config.toml`), and what they share is compiled and linked once. One subject alone: `cargo test --test suite
//! ownership::`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and has threads, clocks and an output of its own"
)]

mod architecture;
mod beside;
mod catalogue;
mod common;
mod conduct;
mod defects;
mod ends;
mod forklift;
mod lab;
mod manifests;
mod network;
mod ownership;
mod platforms;
mod results;
mod run;
mod shards;
mod signals;
mod stories;
mod traces;
mod verdicts;
