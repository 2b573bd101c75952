//! The program `driftless-server`: everything is in the library, so that `driftless up` can embed it.

use std::process::ExitCode;

fn main() -> ExitCode {
    server::cli::run(std::env::args_os())
}
