//! The command line of `driftless`: a file a command.
//!
//! Owns parsing, what is printed, progress and exit codes (0 done, 1 failed, 2 usage, 3 timed out or
//! not in sync, 4 needs the user). It must not know how anything is done: `up`, `join` and `run`
//! start the daemon, the other commands ask a running one over its control socket.

mod asking;
mod cat;
mod changes;
mod completions;
mod confirm;
mod conflicts;
mod device;
mod devices;
mod diff;
mod doctor;
mod exported;
mod folder;
mod foreground;
mod invite;
mod join;
mod label;
mod list;
mod log;
mod merging;
mod moment;
mod output;
mod pause;
mod plan;
mod progress;
mod qr;
mod resolve;
mod restore;
mod resume;
mod retention;
mod run;
mod status;
mod sync;
mod table;
mod up;
mod which;
mod why;

use crate::daemon::control::Failure;
use crate::home::Home;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use output::Output;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Parsed flags.
#[derive(Debug, Parser)]
#[command(name = "driftless", version, about = "Folders that never drift apart")]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Flags {
    /// Directory of this device's configuration, keys and state
    #[arg(long, global = true, value_name = "DIR", env = "DRIFTLESS_HOME")]
    home: Option<PathBuf>,
    /// Print JSON: one object (up, join and run: one object a line)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start all on this machine: a server, this device, this folder
    Up(up::UpFlags),
    /// Enrol this device with a join code and sync a folder into a directory
    Join(join::JoinFlags),
    /// Keep the folders of this device in sync
    Run(run::RunFlags),
    /// Add, list, link and remove folders
    #[command(subcommand)]
    Folder(folder::FolderCommand),
    /// Print a join code for another device
    Invite(invite::InviteFlags),
    /// Tell the state of the device and its folders
    Status,
    /// Rescan, push and pull until device and server hold the same
    Sync(sync::SyncFlags),
    /// List what a folder holds, held, or has lost
    Ls(list::ListFlags),
    /// List the versions of a path, or of all that was in a directory
    Log(log::LogFlags),
    /// Print a version of a file
    Cat(cat::CatFlags),
    /// Compare two versions of a path
    Diff(diff::DiffFlags),
    /// Bring a file, a directory or a folder back as it was
    Restore(restore::RestoreFlags),
    /// Name moments of a folder, which are then kept
    #[command(subcommand)]
    Label(label::LabelCommand),
    /// Show and set how much of a folder's past is kept
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// List open conflicts
    Conflicts(conflicts::ConflictsFlags),
    /// Settle a conflict
    Resolve(resolve::ResolveFlags),
    /// List the devices of this user
    Devices,
    /// Change the devices of this user
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Stop syncing until `resume`
    Pause(pause::PauseFlags),
    /// Go on syncing
    Resume(resume::ResumeFlags),
    /// Agree to what a halted folder waits for, or take it back
    Confirm(confirm::ConfirmFlags),
    /// Tell why a path is or is not synced
    Why(why::WhyFlags),
    /// Tell what the next round would do
    Plan(plan::PlanFlags),
    /// Look for what is wrong with this device
    Doctor,
    /// Print a completion script for a shell
    Completions(completions::CompletionsFlags),
}

/// Where a command works and how it prints.
#[derive(Debug)]
struct Context {
    home: Home,
    output: Output,
}

/// How a command that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All was done.
    Done,
    /// Something was found that failed.
    Failed,
    /// It timed out, or is not in sync.
    NotInSync,
    /// A person has to look.
    NeedsUser,
}

impl Outcome {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotInSync => 3,
            Self::NeedsUser => 4,
        }
    }
}

/// Runs one command line and says how the process ends.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let flags = match Flags::try_parse_from(&arguments) {
        Ok(flags) => flags,
        Err(error) => return usage(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    let output = Output::new(flags.json);
    let outcome = Home::locate(flags.home)
        .map_err(Failure::from)
        .and_then(|home| dispatch(flags.command, &Context { home, output }));
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(exit_code(&failure))
        }
    }
}

fn dispatch(command: Command, context: &Context) -> Result<Outcome, Failure> {
    match command {
        Command::Up(flags) => up::run(flags, context),
        Command::Join(flags) => join::run(flags, context),
        Command::Run(flags) => run::run(&flags, context),
        Command::Folder(command) => folder::run(command, context),
        Command::Invite(flags) => invite::run(flags, context),
        Command::Status => status::run(context),
        Command::Sync(flags) => sync::run(&flags, context),
        Command::Ls(flags) => list::run(flags, context),
        Command::Log(flags) => log::run(flags, context),
        Command::Cat(flags) => cat::run(flags, context),
        Command::Diff(flags) => diff::run(flags, context),
        Command::Restore(flags) => restore::run(flags, context),
        Command::Label(command) => label::run(command, context),
        Command::Retention(command) => retention::run(command, context),
        Command::Conflicts(flags) => conflicts::run(flags, context),
        Command::Resolve(flags) => resolve::run(flags, context),
        Command::Devices => devices::run(context),
        Command::Device(command) => device::run(command, context),
        Command::Pause(flags) => pause::run(flags, context),
        Command::Resume(flags) => resume::run(flags, context),
        Command::Confirm(flags) => confirm::run(flags, context),
        Command::Why(flags) => why::run(flags, context),
        Command::Plan(flags) => plan::run(flags, context),
        Command::Doctor => doctor::run(context),
        Command::Completions(flags) => completions::run::<Flags>(&flags, context),
    }
}

/// Kinds that end otherwise than with 1.
fn exit_code(failure: &Failure) -> u8 {
    match failure.kind.as_str() {
        "usage" => 2,
        // Nothing goes on before a person has joined again, or has merged by hand.
        "revoked" | "unknown_device" | "not_clean" => 4,
        _ => 1,
    }
}

/// Prints what clap has to say: help and versions are answers, the rest is a usage error.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if error.use_stderr() && json {
        let message = usage_message(&error.render().to_string(), error.kind());
        let failure = Failure::new("usage", message, "see `driftless --help`");
        Output::new(true).failure(&failure);
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn commands_parse_as_designed() {
        for line in [
            "driftless up DIR --listen 127.0.0.1:0 --no-web --name a",
            "driftless --home H --json up DIR",
            "driftless join CODE DIR --no-run",
            "driftless join - DIR",
            "driftless run --json",
            "driftless folder add DIR --name n",
            "driftless folder ls",
            "driftless folder link n DIR",
            "driftless folder rm n",
            "driftless invite --folder n --expires 24h",
            "driftless status --json",
            "driftless sync --timeout 30",
            "driftless ls",
            "driftless ls n:a/b",
            "driftless ls --deleted a",
            "driftless ls --at yesterday",
            "driftless log",
            "driftless log a --limit 5 --before 9",
            "driftless diff a",
            "driftless diff a --rev 1 --rev 2",
            "driftless cat a --rev 3",
            "driftless cat a --at 2026-11-20",
            "driftless restore a --rev 3 --to b",
            "driftless restore . --at yesterday --dry-run",
            "driftless label add v1",
            "driftless label add v1 --at 7 --folder n",
            "driftless label ls",
            "driftless label rm v1",
            "driftless retention show",
            "driftless retention set --keep-all 30d --daily 1y --monthly forever --folder n",
            "driftless retention set --keep-everything",
            "driftless retention preview --keep-all 1d",
            "driftless folder set n --merge ask",
            "driftless conflicts",
            "driftless resolve a --keep mine",
            "driftless devices",
            "driftless device revoke n",
            "driftless pause",
            "driftless resume",
            "driftless confirm",
            "driftless confirm --undo --folder n",
            "driftless why a",
            "driftless plan",
            "driftless doctor",
            "driftless completions bash",
        ] {
            assert!(Flags::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "driftless up",
            "driftless join CODE",
            "driftless resolve a",
            "driftless resolve a --keep ours",
            "driftless cat a",
            "driftless cat a --rev 1 --at now",
            "driftless restore a",
            "driftless ls --deleted --at now",
            "driftless sync --timeout soon",
            "driftless log --before 0",
            "driftless log --limit 0",
            "driftless fly",
            "driftless retention set",
            "driftless retention set --keep-all soon",
            "driftless retention set --keep-all 1d --keep-everything",
            "driftless folder set n",
        ] {
            assert!(Flags::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
