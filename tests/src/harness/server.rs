//! A server of its own: `driftless-server serve` on a port of loopback that it keeps.

use super::{Finished, Programs, Running};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server with its data; it may be killed and started again at the same address.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    data: PathBuf,
    log: PathBuf,
    address: String,
    running: Option<Running>,
}

impl Server {
    /// Starts a new server with its data in `directory`.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start(programs: &Programs, directory: &Path) -> Result<Self> {
        Self::start_at(programs, directory, "127.0.0.1:0")
    }

    /// Starts a new server with its data in `directory` at this address.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start_at(programs: &Programs, directory: &Path, address: &str) -> Result<Self> {
        let mut server = Self {
            programs: programs.clone(),
            data: directory.join("server"),
            log: directory.join("server.log"),
            address: address.to_owned(),
            running: None,
        };
        server.run()?;
        Ok(server)
    }

    /// Starts it again, at the address that it had.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn run(&mut self) -> Result<()> {
        let mut command = Command::new(self.programs.server());
        command.arg("serve").arg("--data").arg(&self.data);
        command.args(["--listen", &self.address, "--json"]);
        // Who came and went is of use when a test fails, and to tests of who is turned away.
        command.env("DRIFTLESS_LOG", "info");
        let mut running = Running::start("the server", &mut command, &self.log)?;
        let ready = running.wait_ready()?;
        self.address = ready["address"].as_str().context("ready without address")?.to_owned();
        self.running = Some(running);
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A join code for a first device.
    ///
    /// # Errors
    /// If the command fails.
    pub fn invite(&self) -> Result<String> {
        self.invite_for("24h")
    }

    /// A join code for a first device that works so long.
    ///
    /// # Errors
    /// If the command fails.
    pub fn invite_for(&self, life: &str) -> Result<String> {
        let mut command = Command::new(self.programs.server());
        command.arg("invite").arg("--data").arg(&self.data).args(["--json", "--expires", life]);
        let finished = Running::start("server invite", &mut command, &self.log)?.wait()?;
        let invitation = finished.success("server invite")?.json()?;
        Ok(invitation["code"].as_str().context("an invitation without code")?.to_owned())
    }

    /// How it does.
    ///
    /// # Errors
    /// If the command fails.
    pub fn status(&self) -> Result<Value> {
        let mut command = Command::new(self.programs.server());
        command.arg("status").arg("--data").arg(&self.data).arg("--json");
        let finished = Running::start("server status", &mut command, &self.log)?.wait()?;
        finished.success("server status")?.json()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs an admin command about it with `--json` to its end.
    ///
    /// # Errors
    /// If it does not start or end.
    pub fn ask(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = Command::new(self.programs.server());
        command.args(arguments).arg("--json").arg("--data").arg(&self.data);
        let what = format!("server {}", arguments.first().unwrap_or(&""));
        Running::start(&what, &mut command, &self.log)?.wait()
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context("the server is not running")?.kill()
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// If it does not stop, or is not running.
    pub fn stop(&mut self) -> Result<()> {
        self.running.take().context("the server is not running")?.stop()
    }
}
