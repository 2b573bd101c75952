//! `driftless-server completions`: a completion script on standard output.

use super::{CommandFailure, print_json, print_line};
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsFlags {
    /// For which shell
    shell: Shell,
}

pub(super) fn run<C: clap::CommandFactory>(
    flags: &CompletionsFlags,
    json: bool,
) -> Result<(), CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut C::command(), "driftless-server", &mut script);
    let script = String::from_utf8_lossy(&script);
    if json {
        return print_json(&serde_json::json!({ "script": script }));
    }
    print_line(script.trim_end_matches('\n'))
}
