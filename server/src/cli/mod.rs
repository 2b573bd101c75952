//! The command line of `driftless-server`: a file a command.
//!
//! Owns parsing, what is printed and exit codes (0 done, 1 failed, 2 usage). It must not know how
//! a server works: `serve` starts the composition root, the other commands ask a running one, or the
//! composition root where none runs.

mod backup;
mod check;
mod completions;
mod failure;
mod gc;
mod invite;
mod restore;
mod serve;
mod status;

pub use failure::CommandFailure;

use crate::background::{Problem, Problems};
use crate::control::{AskError, Reply, Request, ask};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Parsed flags.
#[derive(Debug, Parser)]
#[command(
    name = "driftless-server",
    version,
    about = "The server of Driftless, a file sync service"
)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Flags {
    /// Print JSON: one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: metadata and storage in one process
    Serve(serve::ServeFlags),
    /// Print the join code of a user's first device
    Invite(invite::InviteFlags),
    /// Tell how the running server does
    Status(status::StatusFlags),
    /// Give back the room of what nothing needs any more
    Gc(gc::GcFlags),
    /// Look whether everything that is stored is whole
    Check(check::CheckFlags),
    /// Copy a running server into a directory
    Backup(backup::BackupFlags),
    /// Make a data directory from a backup
    Restore(restore::RestoreFlags),
    /// Print a completion script for a shell
    Completions(completions::CompletionsFlags),
}

/// Runs one command line and says how the process ends.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let flags = match Flags::try_parse_from(&arguments) {
        Ok(flags) => flags,
        Err(error) => return usage(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    let outcome = match flags.command {
        Command::Serve(serve) => serve::run(serve, flags.json).map(|()| true),
        Command::Invite(invite) => invite::run(&invite, flags.json).map(|()| true),
        Command::Status(status) => status::run(&status, flags.json).map(|()| true),
        Command::Gc(gc) => gc::run(&gc, flags.json),
        Command::Check(check) => check::run(&check, flags.json),
        Command::Backup(backup) => backup::run(&backup, flags.json),
        Command::Restore(restore) => restore::run(&restore, flags.json),
        Command::Completions(completions) => {
            completions::run::<Flags>(&completions, flags.json).map(|()| true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        // What is not whole was printed.
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            failure.print(flags.json);
            ExitCode::from(1)
        }
    }
}

/// Prints what clap has to say: help and versions are answers, the rest is a usage error.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if error.use_stderr() && json {
        let message = usage_message(&error.render().to_string(), error.kind());
        CommandFailure::new("usage", &message, "see `driftless-server --help`").print(true);
    } else if error.print().is_err() {
        // Nobody reads the output: the exit code still tells.
        return ExitCode::from(1);
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// What clap says in one line: its first paragraph, which names the argument. The rest is usage.
fn usage_message(text: &str, kind: ErrorKind) -> String {
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing".to_owned();
    }
    let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

/// Asks the server that runs on `data`, for an answer of one kind.
fn answer_to<T>(
    data: &Path,
    request: &Request,
    of: impl FnOnce(Reply) -> Option<T>,
) -> Result<T, AskError> {
    let not_understood = || AskError::NotUnderstood { data: data.to_owned() };
    of(ask(data, request)?).ok_or_else(not_understood)
}

/// The same, for a command that needs a running server.
fn asked<T>(
    data: &Path,
    request: &Request,
    of: impl FnOnce(Reply) -> Option<T>,
) -> Result<T, CommandFailure> {
    answer_to(data, request, of).map_err(|error| CommandFailure::asking(error, data))
}

/// Prints a line to standard output at once.
fn print_line(line: &str) -> Result<(), CommandFailure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| {
        CommandFailure::new("output", &format!("writing to standard output: {error}"), "")
    })
}

/// Prints what is not whole, to standard error beside the answer.
fn print_problems(problems: &Problems) {
    for Problem { folder, object, problem } in &problems.problems {
        let place = [folder.as_str(), object.as_str()].join(" ");
        eprintln!("{}: {problem}", place.trim());
    }
    if problems.problems_more > 0 {
        eprintln!("… and {} more", problems.problems_more);
    }
}

/// A runtime for what a command does itself.
fn runtime() -> Result<tokio::runtime::Runtime, CommandFailure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| CommandFailure::new("system", &format!("no threads: {error}"), ""))
}

/// Prints one JSON object as a line.
fn print_json(value: &impl serde::Serialize) -> Result<(), CommandFailure> {
    let line = serde_json::to_string(value)
        .map_err(|error| CommandFailure::new("output", &error.to_string(), ""))?;
    print_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Flags::command().debug_assert();
    }
}
