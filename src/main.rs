//! The way in.

use std::process::ExitCode;

fn main() -> ExitCode {
    mtv_matrix::cli::main()
}
