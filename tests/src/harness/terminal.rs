//! A terminal for a program that asks whether it has one.
//!
//! Owns the pair of a pseudo-terminal. It must not know what the program does on it.

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// Runs a command with a terminal as its standard input and output, and gives what it said on
/// standard error. It has to print less than a terminal holds.
///
/// # Errors
/// If there is no terminal to be had, or the command does not start.
pub fn on_a_terminal(command: &mut Command) -> Result<Output> {
    let held = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
    grantpt(&held)?;
    unlockpt(&held)?;
    let terminal = slave(&held)?;
    command.stdin(terminal.try_clone()?).stdout(terminal).stderr(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    // Until here: a terminal that nobody holds hangs up.
    drop(held);
    Ok(output)
}

fn slave(held: &OwnedFd) -> Result<File> {
    let name = ptsname(held, Vec::new())?;
    let path = std::ffi::OsStr::from_bytes(name.as_bytes());
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}
