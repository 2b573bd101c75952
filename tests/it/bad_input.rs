//! What people and machines get wrong: codes, keys, ports, directories, a second daemon.
//!
//! The built programs on loopback, because what is promised here is what a person sees of them:
//! the message, the hint, the exit code, and that nothing half-made is in the way afterwards.

// tidy: long because it is one list of mistakes, made on the same bench.

use anyhow::{Context, Result, ensure};
use common::trust::JoinCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::harness::{Device, Finished, Programs, Running, Server, eventually};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

/// A directory, the programs, and what was started by hand.
struct Bench {
    directory: tempfile::TempDir,
    programs: Programs,
}

impl Bench {
    fn new() -> Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, programs: Programs::locate()? })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn server(&self) -> Result<Server> {
        Server::start(&self.programs, self.directory.path())
    }

    fn join(&self, name: &str, code: &str) -> Result<Device> {
        Device::join(&self.programs, self.directory.path(), name, code)
    }

    fn spawn(&self, mut command: Command, arguments: &[&str]) -> Result<Running> {
        let what = arguments.join(" ");
        Running::start(&what, command.arg("--json").args(arguments), &self.at("log"))
    }

    /// A command of the device with this home, started.
    fn start(&self, home: &Path, arguments: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.programs.device());
        command.arg("--home").arg(home);
        self.spawn(command, arguments)
    }

    /// A command of the device with this home, to its end.
    fn ask(&self, home: &Path, arguments: &[&str]) -> Result<Finished> {
        self.start(home, arguments)?.wait()
    }

    /// A server on this directory, started.
    fn serve(&self, data: &str, listen: &str) -> Result<Running> {
        let data = self.at(data);
        let arguments = ["serve", "--listen", listen, "--data", text(&data)?];
        self.spawn(Command::new(self.programs.server()), &arguments)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}

/// Checks that a command failed with exit code 1 and one error object of this kind, which says
/// what to do and holds all of `says`.
fn refused(finished: &Finished, kind: &str, says: &[&str]) -> Result<()> {
    ensure!(finished.lines.len() == 1, "not one line: {finished:?}");
    let error = &finished.json()?["error"];
    ensure!(finished.code == Some(1), "exit code {:?}: {error}", finished.code);
    ensure!(error["kind"] == kind, "another kind than {kind}: {error}");
    let message = error["message"].as_str().context("no message")?;
    let hint = error["hint"].as_str().context("no hint")?;
    ensure!(!message.is_empty() && !hint.is_empty(), "it says too little: {error}");
    for part in says {
        ensure!(message.contains(part), "it does not say {part}: {error}");
    }
    Ok(())
}

fn checked(test: impl FnOnce() -> Result<()>) {
    test().unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn a_wrong_expired_or_used_code_is_told_and_the_home_can_join_with_a_right_one() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let begun = Instant::now(); // ok: an invitation has to expire
        let expired = server.invite_for("1s")?;
        let used = server.invite()?;
        let first = bench.join("first", &used)?;
        let used_device = first.invite()?;
        bench.join("second", &used_device)?;
        let whole = first.invite()?;
        let cut = whole.get(..whole.len() - 4).context("a short code")?;
        let (altered, unknown) = (altered(&whole), of_another_secret(&whole)?);
        eventually("the second of an invitation is over", || {
            Ok((begun.elapsed() > Duration::from_secs(2)).then_some(()))
        })?;
        let codes = [
            ("hello", "bad_code"),
            ("", "bad_code"),
            (cut, "bad_code"),
            (altered.as_str(), "bad_code"),
            (unknown.as_str(), "invitation_invalid"),
            (expired.as_str(), "invitation_invalid"),
            (used.as_str(), "invitation_invalid"),
            (used_device.as_str(), "invitation_invalid"),
        ];
        let (home, root) = (bench.at("third"), bench.at("third folder"));
        for (code, kind) in codes {
            let joined = bench.ask(&home, &["join", code, text(&root)?, "--no-run"])?;
            refused(&joined, kind, &[]).with_context(|| format!("code {code:?}"))?;
            ensure!(!home.exists() && !root.exists(), "code {code:?}: something is left");
            refused(&bench.ask(&home, &["run"])?, "not_enrolled", &[])?;
        }
        let joined = bench.ask(&home, &["join", &whole, text(&root)?, "--no-run"])?;
        joined.success("a right code after wrong ones")?;
        let mut third = bench.start(&home, &["run"])?;
        third.wait_ready()?;
        bench.ask(&home, &["sync"])?.success("sync")?;
        // The devices on whose account the codes were tried are none the worse for it.
        first.sync(SYNC_SECONDS)?;
        third.stop()
    });
}

/// The code with one letter in the middle changed.
fn altered(code: &str) -> String {
    let middle = code.len() / 2;
    let change = |(at, letter): (usize, char)| match letter {
        _ if at != middle => letter,
        'a' | 'A' => 'b',
        _ => 'a',
    };
    code.chars().enumerate().map(change).collect()
}

/// A whole code that the server has never given to anybody.
fn of_another_secret(code: &str) -> Result<String> {
    let mut code: JoinCode = code.parse()?;
    code.secret = [7; 32];
    Ok(code.to_string())
}

/// Checks that a command ended with 2 and one line of message that names what is wrong.
fn usage_error(finished: &Finished, names: &str) -> Result<()> {
    ensure!(finished.code == Some(2), "{finished:?}");
    let error = &finished.json()?["error"];
    ensure!(error["kind"] == "usage" && error["hint"] != "", "{error}");
    let message = error["message"].as_str().context("no message")?;
    ensure!(message.contains(names) && !message.contains('\n'), "it does not say {names}: {error}");
    Ok(())
}

#[test]
fn a_command_line_that_is_none_ends_with_2() {
    checked(|| {
        let bench = Bench::new()?;
        let home = bench.at("home");
        let cases = [
            (&["fly"][..], "fly"),
            (&["join"], "<CODE>"),
            (&["sync", "--timeout", "soon"], "--timeout"),
            (&["cat"], "<PATH>"),
            (&["restore", "a"], "--rev <REVISION>"),
            (&["restore", "a", "--rev", "x"], "--rev <REVISION>"),
            (&["resolve", "a", "--keep", "ours"], "mine, theirs, original, copy, both, merged"),
            (&["log", "a", "--bogus"], "--bogus"),
            (&["folder"], "subcommand"),
            (&[], "subcommand"),
        ];
        for (arguments, names) in cases {
            let finished = bench.ask(&home, arguments)?;
            usage_error(&finished, names).with_context(|| format!("{arguments:?}"))?;
        }
        for (arguments, names) in
            [(&["serve"][..], "--data <DIR>"), (&["fly"], "fly"), (&[], "subcommand")]
        {
            let finished = bench.spawn(Command::new(bench.programs.server()), arguments)?.wait()?;
            usage_error(&finished, names).with_context(|| format!("server {arguments:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn a_code_for_a_server_that_is_not_there_can_be_used_once_it_is() {
    checked(|| {
        let bench = Bench::new()?;
        let mut server = bench.server()?;
        let code = server.invite()?;
        server.stop()?;
        let (home, root) = (bench.at("first"), bench.at("folder"));
        let join = ["join", &code, text(&root)?, "--no-run"];
        let address = server.address().to_owned();
        refused(&bench.ask(&home, &join)?, "offline", &[&address])?;
        ensure!(!home.exists() && !root.exists(), "something is left");
        server.run()?;
        bench.ask(&home, &join)?.success("the same code later")?;
        Ok(())
    });
}

#[test]
fn a_server_with_another_key_is_refused_and_told_and_the_true_one_goes_on() {
    checked(|| {
        let bench = Bench::new()?;
        let mut server = bench.server()?;
        let first = bench.join("first", &server.invite()?)?;
        let second = bench.join("second", &first.invite()?)?;
        fs::write(first.root().join("before"), "before")?;
        first.sync(SYNC_SECONDS)?;
        let code = first.invite()?;
        server.stop()?;

        let elsewhere = bench.at("elsewhere");
        fs::create_dir(&elsewhere)?;
        let mut imposter = Server::start_at(&bench.programs, &elsewhere, server.address())?;
        fs::write(first.root().join("secret"), "not for strangers")?;
        let says = "another key";
        let trouble = eventually("status tells of the other key", || {
            let status = first.status()?;
            let trouble = status["trouble"].as_str().filter(|trouble| trouble.contains(says));
            Ok(trouble.map(|trouble| (trouble.to_owned(), status.clone())))
        })?;
        ensure!(trouble.0.contains(server.address()), "{trouble:?}");
        ensure!(trouble.1["state"] != "idle", "{trouble:?}");
        let synced = first.ask(&["sync", "--timeout", "2"])?;
        ensure!(synced.code == Some(3), "a sync with an imposter: {synced:?}");
        let joined = bench.ask(&bench.at("third"), &["join", &code, text(&bench.at("f"))?])?;
        refused(&joined, "wrong_server", &[server.address()])?;
        untouched(&imposter.status()?)?;
        imposter.stop()?;

        server.run()?;
        eventually("the second device gets what was written meanwhile", || {
            let there = fs::read(second.root().join("secret")).is_ok();
            Ok(there.then_some(()))
        })?;
        let status = first.status()?;
        ensure!(status["trouble"].is_null(), "{status}");
        Ok(())
    });
}

/// Checks that this server was given nothing.
fn untouched(status: &Value) -> Result<()> {
    ensure!(status["storage"]["chunks"] == 0, "it holds chunks: {status}");
    Ok(())
}

#[test]
fn a_port_in_use_is_told_and_nothing_is_damaged() {
    checked(|| {
        let bench = Bench::new()?;
        let taken = UdpSocket::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();

        refused(&bench.serve("server", &address)?.wait()?, "port_in_use", &[&address])?;
        let mut server = bench.server()?;
        let first = bench.join("first", &server.invite()?)?;
        fs::write(first.root().join("a"), "a")?;
        first.sync(SYNC_SECONDS)?;
        server.stop()?;
        refused(&bench.serve("server", &address)?.wait()?, "port_in_use", &[&address])?;
        server.run()?;
        let second = bench.join("second", &first.invite()?)?;
        second.sync(SYNC_SECONDS)?;
        ensure!(fs::read(second.root().join("a"))? == b"a");

        let (home, root) = (bench.at("up"), bench.at("up folder"));
        let up = |listen: &str| bench.start(&home, &["up", text(&root)?, "--listen", listen]);
        refused(&up(&address)?.wait()?, "port_in_use", &[&address])?;
        let mut running = up("127.0.0.1:0")?;
        let ready = running.wait_ready()?;
        fs::write(root.join("b"), "b")?;
        bench.ask(&home, &["sync"])?.success("sync")?;
        running.stop()?;
        // Also when it has run before.
        refused(&up(&address)?.wait()?, "port_in_use", &[&address])?;
        let mut again = bench.start(&home, &["up", text(&root)?])?;
        ensure!(again.wait_ready()?["device"] == ready["device"]);
        bench.ask(&home, &["sync"])?.success("sync after all")?;
        again.stop()
    });
}

#[test]
fn a_first_start_that_fails_leaves_what_was_there_and_nothing_else() {
    checked(|| {
        let bench = Bench::new()?;
        let taken = UdpSocket::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let (home, root) = (bench.at("home"), bench.at("folder"));
        let up =
            |root: &Path, listen: &str| bench.ask(&home, &["up", text(root)?, "--listen", listen]);
        refused(&up(&root, &address)?, "port_in_use", &[&address])?;
        ensure!(!home.exists() && !root.exists(), "the port: something is left");
        for inside in [bench.directory.path().to_owned(), home.join("folder")] {
            refused(&up(&inside, "127.0.0.1:0")?, "nested_folder", &[text(&home)?])?;
            ensure!(!home.exists(), "{}: something is left", inside.display());
        }
        // Found only by the server that was started for it.
        let named = ["up", text(&root)?, "--listen", "127.0.0.1:0", "--name", &"n".repeat(200)];
        refused(&bench.ask(&home, &named)?, "bad_name", &[])?;
        ensure!(!home.exists() && !root.exists(), "the name: something is left");
        // What was there stays.
        fs::create_dir(&home)?;
        fs::create_dir(&root)?;
        fs::write(root.join("mine"), "mine")?;
        refused(&up(&root, &address)?, "port_in_use", &[&address])?;
        ensure!(fs::read_dir(&home)?.count() == 0 && root.join("mine").exists(), "the home");
        // So does all that a device has.
        let mut running = bench.start(&home, &["up", text(&root)?, "--listen", "127.0.0.1:0"])?;
        running.wait_ready()?;
        running.stop()?;
        let there = listed(&home)?;
        refused(&up(&root, &address)?, "port_in_use", &[&address])?;
        ensure!(listed(&home)? == there, "{there:?} became {:?}", listed(&home)?);
        Ok(())
    });
}

#[test]
fn a_path_that_is_not_utf8_is_refused_before_anything_is_done() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let code = server.invite()?;
        let home = bench.at("home");
        let odd = bench.directory.path().join(OsStr::from_bytes(b"odd \xff"));
        let ask = |home: &Path, before: &[&str], after: &[&str]| -> Result<Finished> {
            let mut command = Command::new(bench.programs.device());
            command.arg("--home").arg(home).args(before).arg(&odd);
            bench.spawn(command, after)?.wait()
        };
        usage_error(&ask(&home, &["up"], &["--listen", "127.0.0.1:0"])?, "is not UTF-8")?;
        usage_error(&ask(&home, &["join", &code], &["--no-run"])?, "is not UTF-8")?;
        ensure!(!home.exists() && !odd.exists(), "something is left");
        let first = bench.join("first", &code)?;
        let more = [&["folder", "add"][..], &["restore", "folder:a", "--rev", "1", "--to"]];
        for before in more {
            usage_error(&ask(first.home(), before, &[])?, "is not UTF-8")?;
        }
        // Where a symlink leads is seen by the daemon alone.
        fs::create_dir(&odd)?;
        std::os::unix::fs::symlink(&odd, bench.at("link"))?;
        let added = first.ask(&["folder", "add", text(&bench.at("link").join("new"))?])?;
        usage_error(&added, "is not UTF-8")?;
        ensure!(!odd.join("new").exists(), "it was made");
        first.sync(SYNC_SECONDS)
    });
}

#[test]
fn a_recovery_key_that_nobody_read_is_shown_again() {
    checked(|| {
        let bench = Bench::new()?;
        let (home, root) = (bench.at("home"), bench.at("folder"));
        let mut command = Command::new(bench.programs.device());
        command.arg("--home").arg(&home);
        command.arg("up").arg(&root).args(["--listen", "127.0.0.1:0"]);
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let said = bench.at("said");
        let mut running = command.stdout(writer).stderr(fs::File::create(&said)?).spawn()?;
        let told = eventually("something is said of the recovery key", || {
            Ok(fs::read_to_string(&said)?.contains("recovery key").then_some(()))
        });
        let pid = i32::try_from(running.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process without id")?, Signal::TERM)?;
        running.wait()?;
        told?;
        ensure!(home.join("joining").exists(), "the only copy of the recovery key was deleted");
        let mut again = bench.start(&home, &["run"])?;
        let ready = again.wait_ready()?;
        ensure!(ready["recovery_key"].is_string(), "{ready}");
        again.stop()?;
        let mut later = bench.start(&home, &["run"])?;
        let ready = later.wait_ready()?;
        ensure!(ready["recovery_key"].is_null(), "it was shown and is shown again: {ready}");
        later.stop()
    });
}

/// Names of what lies in a directory.
fn listed(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let mut names = entries.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn a_folder_in_or_around_a_folder_is_refused_and_nothing_is_made() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let first = bench.join("first", &server.invite()?)?;
        let root = fs::canonicalize(first.root())?;
        fs::create_dir(root.join("sub"))?;
        let above = root.parent().context("a root without parent")?;
        let home = fs::canonicalize(first.home())?;
        std::os::unix::fs::symlink(&root, bench.at("link"))?;
        let cases = [
            (root.clone(), &root),
            (root.join("sub"), &root),
            (root.join("new"), &root),
            (bench.at("link").join("new"), &root),
            (home.clone(), &home),
            (home.join("new"), &home),
            (above.to_owned(), &home),
            (PathBuf::from("/"), &home),
        ];
        for (directory, other) in &cases {
            let added = first.ask(&["folder", "add", text(directory)?])?;
            refused(&added, "nested_folder", &[text(other)?])
                .with_context(|| directory.display().to_string())?;
        }
        // Another home, which knows of the folder by its marker alone.
        let code = first.invite()?;
        let elsewhere = tempfile::tempdir()?;
        let other = elsewhere.path().join("home");
        for directory in [&root.join("new"), bench.directory.path()] {
            let joined = bench.ask(&other, &["join", &code, text(directory)?, "--no-run"])?;
            refused(&joined, "nested_folder", &[text(&root)?])?;
        }
        ensure!(!root.join("new").exists() && !home.join("new").exists(), "it was made");
        let fine = elsewhere.path().join("fine");
        bench.ask(&other, &["join", &code, text(&fine)?, "--no-run"])?.success("join")?;
        let folders = first.ask(&["folder", "ls"])?.success("folder ls")?.json()?;
        ensure!(folders["folders"].as_array().is_some_and(|list| list.len() == 1), "{folders}");
        Ok(())
    });
}

#[test]
fn a_device_that_is_killed_and_started_again_and_again_is_let_in_each_time() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let mut first = bench.join("first", &server.invite()?)?;
        // More connections than a device may have, and the server takes half a minute to notice
        // that they are dead.
        for run in 0..8 {
            fs::write(first.root().join("file"), format!("run {run}"))?;
            first.sync(SYNC_SECONDS)?;
            first.kill()?;
            first.run()?;
        }
        first.sync(SYNC_SECONDS)
    });
}

#[test]
fn a_second_daemon_or_server_says_that_one_runs_and_ends() {
    checked(|| {
        let bench = Bench::new()?;
        let mut server = bench.server()?;
        let mut first = bench.join("first", &server.invite()?)?;
        refused(&bench.ask(first.home(), &["run"])?, "already_running", &[])?;
        let up = ["up", text(first.root())?, "--listen", "127.0.0.1:0"];
        refused(&bench.ask(first.home(), &up)?, "already_running", &[])?;
        refused(&bench.serve("server", "127.0.0.1:0")?.wait()?, "data_in_use", &[])?;
        // The ones that run are none the worse for it.
        fs::write(first.root().join("a"), "a")?;
        first.sync(SYNC_SECONDS)?;
        first.stop()?;
        first.run()?;
        first.sync(SYNC_SECONDS)?;
        first.stop()?;
        server.stop()
    });
}

#[test]
fn a_sync_with_open_conflicts_is_in_sync_and_needs_the_user() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let mut first = bench.join("first", &server.invite()?)?;
        let second = bench.join("second", &first.invite()?)?;
        fs::write(first.root().join("a.txt"), "base")?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
        first.stop()?;
        fs::write(first.root().join("a.txt"), "of the first")?;
        fs::write(second.root().join("a.txt"), "of the second")?;
        second.sync(SYNC_SECONDS)?;
        first.run()?;
        for device in [&first, &second] {
            let synced = device.ask(&["sync"])?;
            ensure!(synced.code == Some(4), "{synced:?}");
            let answer = synced.json()?;
            ensure!(answer["in_sync"] == true && answer["conflicts"] == 1, "{answer}");
        }
        let path = first.root().join("a.txt");
        first.ask(&["resolve", text(&path)?, "--keep", "mine"])?.success("resolve")?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
        ensure!(fs::read(second.root().join("a.txt"))? == b"of the first");
        Ok(())
    });
}

/// A device with a file `kept`, in sync.
fn with_a_synced_file(bench: &Bench, server: &Server) -> Result<Device> {
    let device = bench.join("first", &server.invite()?)?;
    fs::write(device.root().join("kept"), "kept")?;
    device.sync(SYNC_SECONDS)?;
    Ok(device)
}

#[test]
fn a_folder_whose_state_cannot_be_opened_says_why_and_is_mended_as_the_hint_says() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let mut first = with_a_synced_file(&bench, &server)?;
        first.stop()?;
        let states = fs::read_dir(first.home().join("state"))?.collect::<Result<Vec<_>, _>>()?;
        let state = states
            .iter()
            .map(fs::DirEntry::path)
            .find(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
            .context("no state database")?;
        fs::write(&state, "this is no database, and longer than the header of one".repeat(40))?;
        first.run()?;
        let halt = eventually("status tells why the folder is halted", || {
            let status = first.status()?;
            Ok((status["state"] == "halted").then(|| status["halt"].clone()))
        })?;
        for (field, says) in [("message", text(&state)?), ("hint", "move it away")] {
            ensure!(halt[field].as_str().is_some_and(|told| told.contains(says)), "{halt}");
        }
        let synced = first.ask(&["sync"])?;
        ensure!(synced.code == Some(4), "{synced:?}");

        first.stop()?;
        fs::remove_file(&state)?;
        first.run()?;
        first.sync(SYNC_SECONDS)?;
        ensure!(fs::read(first.root().join("kept"))? == b"kept");
        Ok(())
    });
}

#[test]
fn a_folder_whose_marker_was_deleted_is_taken_up_again_as_the_hint_says() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let mut first = with_a_synced_file(&bench, &server)?;
        fs::remove_dir_all(first.root().join(".driftless"))?;
        fs::write(first.root().join("new"), "new")?;
        let status = eventually("status tells of the root", || {
            let status = first.status()?;
            Ok((status["state"] == "halted").then_some(status))
        })?;
        let hint = status["halt"]["hint"].as_str().context("no hint")?;
        ensure!(hint.contains("folder rm") && hint.contains("folder link"), "{hint}");
        let confirmed = first.ask(&["confirm"])?;
        refused(&confirmed, "nothing_to_confirm", &[".driftless/root is missing"])?;
        ensure!(confirmed.json()?["error"]["hint"] == hint, "{confirmed:?}");

        let name = status["name"].as_str().context("no name")?;
        first.ask(&["folder", "rm", name])?.success("folder rm")?;
        first.ask(&["folder", "link", name, text(first.root())?])?.success("folder link")?;
        first.sync(SYNC_SECONDS)?;
        ensure!(fs::read(first.root().join("kept"))? == b"kept");
        ensure!(first.versions("kept")?.len() == 1 && first.versions("new")?.len() == 1);

        first.stop()?;
        fs::remove_dir_all(first.root())?;
        first.run()?;
        let watch = eventually("status tells that nothing is watched", || {
            let watch = first.status()?["watch"].as_str().map(str::to_owned);
            Ok(watch.filter(|watch| watch != "complete" && watch != "starting"))
        })?;
        ensure!(watch.contains("root cannot be read"), "{watch}");
        Ok(())
    });
}

#[test]
fn what_cannot_be_shown_or_restored_is_told_with_what_to_do() {
    checked(|| {
        let bench = Bench::new()?;
        let server = bench.server()?;
        let first = bench.join("first", &server.invite()?)?;
        let root = fs::canonicalize(first.root())?;
        fs::write(root.join("file"), "file")?;
        fs::write(root.join(".driftlessignore"), "*.tmp\n")?;
        fs::write(root.join("ignored.tmp"), "ignored")?;
        first.sync(SYNC_SECONDS)?;
        let revision = first.versions("file")?.first().context("no version")?.revision.to_string();
        let at = |name: &str| text(&root.join(name)).map(str::to_owned);
        let (file, ignored) = (at("file")?, at("ignored.tmp")?);
        let (missing, rev) = (at("missing")?, ["--rev", &revision]);
        let cases: [(Vec<&str>, &str, &str); 6] = [
            (vec!["log", &ignored], "no_history", "only on this disk"),
            (vec!["restore", &ignored, rev[0], rev[1]], "no_history", "only on this disk"),
            (vec!["log", &missing], "no_such_path", "missing: no such path"),
            (vec!["restore", &file, rev[0], rev[1], "--to", &file], "exists", "exists already"),
            (vec!["confirm"], "nothing_to_confirm", "nothing waits"),
            (vec!["folder", "add", text(&root)?], "nested_folder", "is a synced folder already"),
        ];
        for (arguments, kind, says) in cases {
            let finished = first.ask(&arguments)?;
            refused(&finished, kind, &[says]).with_context(|| arguments.join(" "))?;
        }
        ensure!(fs::read(root.join("file"))? == b"file", "it was overwritten");

        // Not synced yet, because nothing is while the folder is paused.
        first.ask(&["pause"])?.success("pause")?;
        fs::write(root.join("new"), "new")?;
        let waits = first.ask(&["log", &at("new")?])?;
        refused(&waits, "no_history", &["new: has no history yet"])?;
        // A sync alone would not end that.
        let hint = waits.json()?["error"]["hint"].as_str().unwrap_or_default().to_owned();
        ensure!(hint.starts_with("the folder is paused: run `driftless resume` first"), "{hint}");
        ensure!(first.ask(&["sync", "--timeout", "60"])?.code == Some(3), "a sync while paused");
        first.ask(&["resume"])?.success("resume")?;
        first.sync(SYNC_SECONDS)?;
        first.ask(&["log", &at("new")?])?.success("log once it is synced")?;
        Ok(())
    });
}
