//! The real git, as people use it in a synced folder.
//!
//! Owns that nobody's configuration has a say in a test, and that git does nothing by itself.

use anyhow::{Result, ensure};
use std::path::Path;
use std::process::{Command, Output};

/// Runs git in a directory without anybody's configuration.
///
/// # Errors
/// If it does not start.
pub fn git(at: &Path, arguments: &[&str]) -> Result<Output> {
    let output = Command::new("git")
        .current_dir(at)
        .args(["-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "gc.auto=0"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_EDITOR", "true")
        .output()?;
    Ok(output)
}

/// As [`git`]; gives what it printed.
///
/// # Errors
/// If it fails.
pub fn git_ok(at: &Path, arguments: &[&str]) -> Result<String> {
    let output = git(at, arguments)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "git {}: {out}\n{err}", arguments.join(" "));
    Ok(out)
}
