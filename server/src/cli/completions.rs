//! `driftless-server completions`: a completion script on standard output.

use super::CommandFailure;
use clap_complete::Shell;
use std::io::Write;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsFlags {
    /// For which shell
    shell: Shell,
}

pub(super) fn run<C: clap::CommandFactory>(flags: &CompletionsFlags) -> Result<(), CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut C::command(), "driftless-server", &mut script);
    std::io::stdout().write_all(&script).map_err(|error| {
        CommandFailure::new("output", &format!("writing to standard output: {error}"), "")
    })
}
