//! The way in.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A run and its lab spend a fifth of their time in the C library's allocator, this one less than half of that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    mtv_matrix::cli::main()
}
