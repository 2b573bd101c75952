//! What people are told when they name what is not there or cannot be, with the real programs: what is
//! wrong with it, and not with something else.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use tests::harness::{Device, Programs, Server};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

/// A device with its server.
struct Scene {
    programs: Programs,
    device: Device,
    _server: Server,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory.path())?;
        let device = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
        Ok(Self { _directory: directory, programs, device, _server: server })
    }

    /// Checks what a command says that fails.
    fn says(&self, arguments: &[&str], code: i32, message: &str, hint: &str) -> Result<()> {
        let finished = self.device.ask(arguments)?;
        let error = finished.json()?["error"].clone();
        ensure!(finished.code == Some(code), "{arguments:?}: {:?}, {error}", finished.code);
        for (field, says) in [("message", message), ("hint", hint)] {
            let text = error[field].as_str().context("no text")?;
            ensure!(text.contains(says), "{arguments:?} says not {says}: {error}");
            ensure!(!text.contains('\n'), "{arguments:?}: several lines: {error}");
        }
        Ok(())
    }

    fn why(&self, path: &Path) -> Result<Value> {
        let mut command = Command::new(self.programs.device());
        command.arg("--home").arg(self.device.home()).args(["--json", "why"]).arg(path);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn checked(test: impl FnOnce() -> Result<()>) {
    test().unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn what_cannot_be_synced_is_explained_by_its_reason_alone() {
    checked(|| {
        let scene = Scene::new()?;
        let root = scene.device.root();
        let fifo = root.join("fifo");
        ensure!(Command::new("mkfifo").arg(&fifo).status()?.success(), "no FIFO");
        let names: [(&[u8], &str); 2] =
            [(b"new\nline", "control character"), (b"odd \xff", "not valid UTF-8")];
        for (name, _) in names {
            fs::write(root.join(OsStr::from_bytes(name)), "x")?;
        }
        fs::write(root.join(".driftlessignore"), "*.tmp\n")?;
        fs::write(root.join("x.tmp"), "x")?;
        scene.device.sync(SYNC_SECONDS)?;
        let whole = [("fifo".as_bytes(), "a FIFO, device or socket is not synced")];
        for (name, says) in whole.into_iter().chain(names) {
            let why = scene.why(&root.join(OsStr::from_bytes(name)))?;
            let reasons = why["reasons"].as_array().context("no reasons")?;
            ensure!(why["state"] == "failed" && reasons.len() == 1, "{why}");
            ensure!(reasons[0].as_str().is_some_and(|it| it.contains(says)), "{why}");
            ensure!(why["devices"] == Value::Array(Vec::new()), "nobody can have it: {why}");
        }
        let ignored = scene.why(&root.join("x.tmp"))?;
        ensure!(ignored["state"] == "ignored", "{ignored}");
        ensure!(ignored["devices"] == Value::Array(Vec::new()), "nobody can have it: {ignored}");
        // What this disk has stands in a line of its own.
        let synced = scene.why(&root.join(".driftlessignore"))?;
        ensure!(synced["held"].is_number(), "this disk has it: {synced}");
        ensure!(synced["devices"] == Value::Array(Vec::new()), "no other device: {synced}");
        let whole = scene.device.plain(&["why", "folder:"])?;
        let told = String::from_utf8_lossy(&whole.stdout);
        ensure!(told.starts_with("the whole folder: "), "{told}");
        ensure!(!told.contains("an older one"), "{told}");
        Ok(())
    });
}

#[test]
fn what_is_not_there_is_told_by_what_is() {
    checked(|| {
        let scene = Scene::new()?;
        let (device, root) = (&scene.device, scene.device.root());
        scene.says(&["ls", "--at", "1"], 1, "there is no revision 1: nothing has been", "log")?;
        fs::create_dir(root.join("d"))?;
        fs::write(root.join("d/a.txt"), "a")?;
        device.sync(SYNC_SECONDS)?;
        let last = device.status()?["cursor"]["revision"].as_u64().context("no cursor")?;
        let revisions = format!("no revision 0: this folder's revisions are 1 to {last}");
        scene.says(&["ls", "--at", "0"], 1, &revisions, "log")?;
        let of_a = device.versions("d/a.txt")?[0].revision;
        let older = format!("{of_a}.1");
        let none = format!("d/a.txt: has no revision {older}");
        scene.says(&["cat", "folder:d/a.txt", "--rev", &older, "--json"], 2, "--json", "")?;
        scene.says(&["restore", "folder:d/a.txt", "--rev", &older], 1, &none, "log")?;
        let cat = device.plain(&["cat", "folder:d", "--rev", &last.to_string()])?;
        let said = String::from_utf8_lossy(&cat.stderr);
        for says in ["d: is a directory", "driftless ls PATH --at", "driftless diff", "--to DEST"] {
            ensure!(said.contains(says), "{says}: {said}");
        }
        ensure!(!said.contains("not supported"), "{said}");

        for limits in [["--before", "0"], ["--limit", "0"]] {
            scene.says(&["log", limits[0], limits[1]], 2, limits[0], "")?;
        }
        scene.says(&["log", "folder:../x"], 2, "has no `..`", "from the folder's top")?;
        let other = "G:foo: no folder named G is synced here";
        scene.says(&["log", "G:foo"], 1, other, "the folders here are: folder")?;
        // Also where it could be the name of a file.
        let mut inside = Command::new(scene.programs.device());
        inside.arg("--home").arg(device.home()).args(["log", "G:foo"]).current_dir(root);
        let said = String::from_utf8(inside.output()?.stderr)?;
        ensure!(said.contains(other) && said.contains("are: folder"), "{said}");
        fs::write(root.join("G:foo"), "a file")?;
        device.sync(SYNC_SECONDS)?;
        ensure!(inside.output()?.status.success(), "a name with a colon");
        Ok(())
    });
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_line() {
    checked(|| {
        let mut scene = Scene::new()?;
        scene.device.stop()?;
        let config = scene.device.home().join("config.toml");
        let before = fs::read_to_string(&config)?;
        fs::write(&config, format!("# mine\nmerge_tool = 5\n{before}"))?;
        let line = "line 2, `merge_tool = 5`: invalid type";
        scene.says(&["run"], 1, line, "mend that line by hand")?;
        fs::write(&config, before)?;
        scene.device.run()
    });
}
