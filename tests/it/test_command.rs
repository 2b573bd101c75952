//! The test command itself: what it says at its end.
//!
//! It runs with a cargo that prints what a test would, so that nothing is built for it.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const CARGO: &str = "#!/bin/sh
echo 'left out: the moon, because it is far away'
echo '  left out: is a word of a sentence here'
echo 'left out: the moon, because it is far away'
echo 'test result: ok. 3 passed; 0 failed; 0 ignored'
";

#[test]
fn what_tests_left_out_is_said_again_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let cargo = directory.path().join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("run"))
        .arg("test")
        .env("PATH", format!("{}:{paths}", directory.path().display()))
        .env("CARGO_TARGET_DIR", directory.path().join("target"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, end) = text.split_once("== all steps took").unwrap();
    let lines: Vec<_> = end.lines().skip(1).collect();
    assert_eq!(lines, ["left out: the moon, because it is far away", "3 passed, 0 failed"]);
}
