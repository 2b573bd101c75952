//! The program `driftless-server` as an operator meets it: what it prints, how it ends, what it
//! says when something is in the way.
//!
//! Processes are told ready by their own line and awaited by their exit: no sleeps.

// What runs a program for a test is a test, too: clippy sees only `#[test]` functions as such.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_driftless-server"))
}

/// A running server; killed when dropped.
struct Serving {
    child: Child,
    lines: BufReader<ChildStdout>,
    ready: Value,
}

impl Serving {
    fn start(data: &Path) -> Self {
        let mut child = program()
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, lines, ready }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str], data: &Path) -> Output {
    program().args(arguments).arg("--data").arg(data).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error_kind(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = json(output)["error"].clone();
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert!(!error["hint"].as_str().unwrap().is_empty());
    error["kind"].as_str().unwrap().to_owned()
}

#[test]
fn it_serves_invites_tells_its_status_and_stops_cleanly() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut serving = Serving::start(&data);
    assert_eq!(serving.ready["event"], "ready");
    let address = serving.ready["address"].as_str().unwrap().to_owned();

    let invite = json(&run(&["invite", "--json", "--expires", "30m"], &data));
    let code: common::trust::JoinCode = invite["code"].as_str().unwrap().parse().unwrap();
    assert_eq!(code.kind, common::trust::JoinKind::Bootstrap);
    assert_eq!(code.addresses, std::slice::from_ref(&address));
    assert_eq!(code.cluster.to_string(), serving.ready["cluster"].as_str().unwrap());
    assert_eq!(invite["folder"], Value::Null);
    assert!(invite["expires"].as_str().unwrap().ends_with('Z'));

    let plain = run(&["invite"], &data);
    let line = String::from_utf8(plain.stdout).unwrap();
    assert!(line.trim_end().parse::<common::trust::JoinCode>().is_ok(), "{line}");

    let status = json(&run(&["status", "--json"], &data));
    assert_eq!(status["address"], address);
    assert_eq!(status["metadata"]["state"], "serving");
    assert_eq!(status["storage"]["state"], "open");

    for (file, mode) in [("server.key", 0o600), ("control.sock", 0o600), (".", 0o700)] {
        let found = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    serving.signal(rustix::process::Signal::TERM);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    serving.lines.read_line(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(!data.join("control.sock").exists());
}

#[test]
fn a_killed_server_starts_again_as_the_same_cluster() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Serving::start(home.path());
    let cluster = first.ready["cluster"].clone();
    first.signal(rustix::process::Signal::KILL);
    first.child.wait().unwrap();
    assert_eq!(error_kind(&run(&["invite", "--json"], home.path())), "not_running");
    let mut again = Serving::start(home.path());
    assert_eq!(again.ready["cluster"], cluster);
    again.signal(rustix::process::Signal::INT);
    assert_eq!(again.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_in_the_way_is_said() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let serving = Serving::start(&data);
    let second = run(&["serve", "--json", "--listen", "127.0.0.1:0"], &data);
    assert_eq!(error_kind(&second), "data_in_use");
    let message = json(&second)["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&serving.child.id().to_string()), "{message}");

    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let other = home.path().join("other");
    let busy = run(&["serve", "--json", "--listen", &address], &other);
    assert_eq!(error_kind(&busy), "port_in_use");
    let text = run(&["serve", "--listen", &address], &other);
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.contains("error: ") && text.contains("hint: "), "{text}");

    let advertise = "bad address";
    let bad =
        run(&["serve", "--json", "--listen", "127.0.0.1:0", "--advertise", advertise], &other);
    assert_eq!(error_kind(&bad), "advertise");

    let missing = home.path().join("missing");
    assert_eq!(error_kind(&run(&["status", "--json"], &missing)), "no_data");
    assert!(!missing.exists());
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let cases: [(&[&str], i32); 7] = [
        (&[], 2),
        (&["--help"], 0),
        (&["serve"], 2),
        (&["serve", "--data", "x", "--listen", "nonsense"], 2),
        (&["invite", "--data", "x", "--expires", "31d"], 2),
        (&["--json", "nonsense"], 2),
        (&["completions", "bash"], 0),
    ];
    for (arguments, code) in cases {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let output = program().args(["--json", "nonsense"]).output().unwrap();
    assert_eq!(json(&output)["error"]["kind"], "usage");
}
