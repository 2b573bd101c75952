//! A device of its own: a home, a folder and the daemon between them.

use super::{Finished, Programs, Running};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A device; its daemon may be killed and started again.
#[derive(Debug)]
pub struct Device {
    programs: Programs,
    name: String,
    home: PathBuf,
    root: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

/// One line of `log`.
#[derive(Debug)]
pub struct Version {
    /// What `cat --rev` takes.
    pub revision: u64,
    /// Its bytes.
    pub size: u64,
}

impl Device {
    /// Enrols a device with its home and folder below `directory`, and starts its daemon.
    ///
    /// # Errors
    /// If the code is refused, or the daemon does not get ready.
    pub fn join(programs: &Programs, directory: &Path, name: &str, code: &str) -> Result<Self> {
        // All devices call the folder's directory the same: the first one names the folder by it.
        let root = directory.join(name).join("folder");
        let mut device = Self {
            programs: programs.clone(),
            name: name.to_owned(),
            home: directory.join(name).join("home"),
            root,
            log: directory.join(format!("{name}.log")),
            running: None,
        };
        std::fs::create_dir_all(&device.root)?;
        let root = device.root.clone();
        let root = root.to_str().context("a directory that is no UTF-8")?;
        device.ask(&["join", code, root, "--no-run", "--name", name])?.success("join")?;
        device.run()?;
        Ok(device)
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn run(&mut self) -> Result<()> {
        let mut command = self.command(&["run"]);
        let mut running = Running::start(&self.name, &mut command, &self.log)?;
        running.wait_ready()?;
        self.running = Some(running);
        Ok(())
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its synced directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the daemon with SIGKILL.
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().with_context(|| format!("{} is not running", self.name))?.kill()
    }

    /// Stops the daemon in good order.
    ///
    /// # Errors
    /// If it does not stop, or is not running.
    pub fn stop(&mut self) -> Result<()> {
        self.running.take().with_context(|| format!("{} is not running", self.name))?.stop()
    }

    /// A join code for another device.
    ///
    /// # Errors
    /// If the command fails.
    pub fn invite(&self) -> Result<String> {
        let invitation = self.ask(&["invite"])?.success("invite")?.json()?;
        Ok(invitation["code"].as_str().context("an invitation without code")?.to_owned())
    }

    /// Starts a `sync` and does not wait for it.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_sync(&self, timeout_seconds: u64) -> Result<Running> {
        let seconds = timeout_seconds.to_string();
        let mut command = self.command(&["sync", "--timeout", &seconds]);
        let running = Running::start(&format!("sync of {}", self.name), &mut command, &self.log)?;
        Ok(running.with_patience(Duration::from_secs(timeout_seconds)))
    }

    /// Syncs and waits until all that was there at the start is on both sides.
    ///
    /// # Errors
    /// If it is not in sync in time.
    pub fn sync(&self, timeout_seconds: u64) -> Result<()> {
        let finished = self.start_sync(timeout_seconds)?.wait()?;
        finished.success(&format!("sync of {}", self.name))?;
        Ok(())
    }

    /// As [`Device::sync`], where devices may have met in conflicts; gives how many are open, which
    /// is what the exit code 4 of a sync that ends in sync has to be about.
    ///
    /// # Errors
    /// As [`Device::sync`].
    pub fn sync_to_conflicts(&self, timeout_seconds: u64) -> Result<u64> {
        let finished = self.start_sync(timeout_seconds)?.wait()?;
        let conflicts = finished.json()?["conflicts"].as_u64().unwrap_or_default();
        if finished.code == Some(4) && conflicts > 0 && finished.json()?["in_sync"] == true {
            return Ok(conflicts);
        }
        finished.success(&format!("sync of {}", self.name))?;
        Ok(0)
    }

    /// The state of its one folder.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn status(&self) -> Result<Value> {
        let status = self.ask(&["status"])?.success("status")?.json()?;
        let [folder] = status["folders"].as_array().context("no folders")?.as_slice() else {
            bail!("not one folder: {status}");
        };
        Ok(folder.clone())
    }

    /// The versions of a path in its folder, newest first; none for a path that never was.
    ///
    /// # Errors
    /// If the answer is not understood.
    pub fn versions(&self, path: &str) -> Result<Vec<Version>> {
        let finished = self.ask(&["log", &self.argument(path)?])?.success("log")?;
        let log = finished.json()?;
        let versions = log["versions"].as_array().context("a log without versions")?;
        versions
            .iter()
            .map(|version| {
                Ok(Version {
                    revision: version["revision"].as_u64().context("no revision")?,
                    size: version["size"].as_u64().context("no size")?,
                })
            })
            .collect()
    }

    /// The bytes of one version.
    ///
    /// # Errors
    /// If the command fails.
    pub fn cat(&self, path: &str, revision: u64) -> Result<Vec<u8>> {
        let revision = revision.to_string();
        let output = self.plain(&["cat", &self.argument(path)?, "--rev", &revision])?;
        if !output.status.success() {
            bail!("cat {path} --rev {revision}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.stdout)
    }

    /// Runs a command of this device as people do, without `--json`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn plain(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.programs.device());
        Ok(command.arg("--home").arg(&self.home).args(arguments).output()?)
    }

    fn argument(&self, path: &str) -> Result<String> {
        let path = self.root.join(path);
        Ok(path.to_str().context("a path that is no UTF-8")?.to_owned())
    }

    /// Runs a command of this device with `--json` to its end.
    ///
    /// # Errors
    /// If it does not start or end.
    pub fn ask(&self, arguments: &[&str]) -> Result<Finished> {
        let what = format!("{} of {}", arguments.first().unwrap_or(&""), self.name);
        Running::start(&what, &mut self.command(arguments), &self.log)?.wait()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.device());
        command.arg("--home").arg(&self.home).arg("--json").args(arguments);
        command
    }
}
