//! `driftless completions`: a completion script on standard output.

use super::{Context, Outcome};
use crate::daemon::control::Failure;
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsFlags {
    /// For which shell
    shell: Shell,
}

pub(super) fn run<C: clap::CommandFactory>(
    flags: &CompletionsFlags,
    context: &Context,
) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut C::command(), "driftless", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    context.output.answer(&serde_json::json!({ "script": script }), || script.clone())
}
