//! One process: started, waited for, killed. Dropping it kills it.

use super::PATIENCE;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed, by line.
    pub lines: Vec<String>,
    /// Where its standard error went.
    pub log: PathBuf,
}

impl Finished {
    /// The last line as JSON.
    ///
    /// # Errors
    /// If there is none, or it is something else.
    pub fn json(&self) -> Result<Value> {
        let line = self.lines.last().context("it printed nothing")?;
        serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
    }

    /// Checks that it ended with exit code 0.
    ///
    /// # Errors
    /// What it printed instead.
    pub fn success(self, what: &str) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        bail!(
            "{what} ended with {:?}\nprinted: {}\nlog, newest first:\n{}",
            self.code,
            self.lines.join("\n"),
            tail.join("\n")
        )
    }
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    patience: Duration,
    ended: bool,
}

impl Running {
    /// Starts a program; its standard error is appended to `log`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let errors = OpenOptions::new().create(true).append(true).open(log)?;
        Self::spawn(name, command, errors, log)
    }

    fn spawn(name: &str, command: &mut Command, errors: File, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let out = child.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        // Ends with the process, at the end of its output.
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            log: log.to_owned(),
            patience: PATIENCE,
            ended: false,
        })
    }

    /// Waits longer for its end: what it does may take this long by itself.
    #[must_use]
    pub fn with_patience(mut self, more: Duration) -> Self {
        self.patience = PATIENCE + more;
        self
    }

    /// Waits for the `ready` event of `--json`.
    ///
    /// # Errors
    /// If the program ends before, or is not ready in time.
    pub fn wait_ready(&mut self) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE; // ok: the wait ends
        loop {
            let left = deadline.saturating_duration_since(Instant::now()); // ok: the wait ends
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("{} was not ready in time", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    let name = self.name.clone();
                    let finished = self.wait()?;
                    bail!("{:?}", finished.success(&format!("{name} before it was ready")));
                }
            };
            let value: Value = serde_json::from_str(&line)
                .with_context(|| format!("{}: not JSON: {line}", self.name))?;
            if value["event"] == "ready" {
                return Ok(value);
            }
            if !value["error"].is_null() {
                bail!("{}: {value}", self.name);
            }
        }
    }

    /// Ends it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.ended = true;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop with SIGTERM, and waits.
    ///
    /// # Errors
    /// If it does not stop in time, or not with exit code 0.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process without id")?, Signal::TERM)?;
        let name = self.name.clone();
        self.wait()?.success(&name)?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end in time; it is killed then.
    pub fn wait(&mut self) -> Result<Finished> {
        let deadline = Instant::now() + self.patience; // ok: the wait ends
        let mut lines = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now()); // ok: the wait ends
            match self.lines.recv_timeout(left) {
                Ok(line) => lines.push(line),
                // The end of its output is the end of the process, or as near as can be seen.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("{} did not end in time", self.name),
            }
        }
        let status: ExitStatus = self.child.wait()?;
        self.ended = true;
        Ok(Finished { code: status.code(), lines, log: self.log.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself just now; nothing of it is left either way.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
