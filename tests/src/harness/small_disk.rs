//! A disk that is soon full: a tmpfs of a test's own.
//!
//! It is mounted in namespaces of the test's own (`unshare`, which works for plain users too where
//! the system allows it), so it is gone with the last process of the test, whatever ends that.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the process that has namespaces of its own.
const INSIDE: &str = "DRIFTLESS_TEST_MOUNTS";

/// Runs `body` of the test with this name where it may mount; says plainly when the system does
/// not allow that, and leaves the test out.
///
/// # Panics
/// If the test fails.
pub fn with_own_mounts(test: &str, body: impl FnOnce() -> Result<()>) {
    if std::env::var_os(INSIDE).is_some() {
        return body().unwrap_or_else(|error| panic!("{error:?}"));
    }
    if let Err(error) = probe() {
        println!("left out: {test}, because no tmpfs can be mounted here: {error:#}");
        return;
    }
    again_inside(test).unwrap_or_else(|error| panic!("{error:?}"));
}

/// Runs this very test in namespaces of its own.
fn again_inside(test: &str) -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--"]).arg(std::env::current_exe()?);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    ensure!(text(&output.stdout).contains("1 passed"), "no test is named {test}");
    Ok(())
}

fn probe() -> Result<()> {
    let mount = "mount -t tmpfs -o size=64k tmpfs /mnt";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--", "sh", "-c", mount])
        .output()
        .context("unshare")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// A small filesystem that can be filled and emptied.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB at a new directory.
    ///
    /// # Errors
    /// If the system does not mount it.
    pub fn mount(at: &Path, mebibytes: u64) -> Result<Self> {
        fs::create_dir(at)?;
        let size = format!("size={mebibytes}m,mode=0700");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output()?;
        if !output.status.success() {
            bail!("mount: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self { at: at.to_owned() })
    }

    /// Makes `path`, which is elsewhere, a name for a directory on this disk.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn place(&self, name: &str, path: &Path) -> Result<()> {
        fs::create_dir_all(path.parent().context("a path without parent")?)?;
        fs::create_dir(self.at.join(name))?;
        std::os::unix::fs::symlink(self.at.join(name), path)?;
        Ok(())
    }

    /// Free bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> Result<u64> {
        let found = statvfs(&self.at)?;
        Ok(found.f_bavail * found.f_frsize)
    }

    /// Takes room until only so many bytes are left.
    ///
    /// # Errors
    /// If less is free already.
    pub fn fill_up_to(&self, left: u64) -> Result<()> {
        let free = self.free()?;
        let length = free.checked_sub(left).with_context(|| format!("only {free} are free"))?;
        let filler = File::create_new(self.filler())?;
        if length > 0 {
            fallocate(&filler, FallocateFlags::empty(), 0, length)?;
        }
        Ok(())
    }

    /// Takes what has become free since, to the last byte.
    ///
    /// # Errors
    /// What the system says.
    pub fn fill_the_rest(&self) -> Result<()> {
        let (free, filler) = (self.free()?, File::options().write(true).open(self.filler())?);
        if free > 0 {
            fallocate(&filler, FallocateFlags::empty(), filler.metadata()?.len(), free)?;
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// If it was not taken.
    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}
