//! The control socket, both sides.

use super::*;
use crate::background::Problem;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

struct Fixed;

#[async_trait]
impl Admin for Fixed {
    async fn invite(&self, life_ms: u64) -> Result<Invitation, Failure> {
        Ok(Invitation { code: format!("code-{life_ms}"), folder: None, expires: "then".into() })
    }

    async fn status(&self) -> Result<Status, Failure> {
        Err(Failure { kind: "k".into(), message: "m".into(), hint: "h".into() })
    }

    async fn gc(&self, dry_run: bool, grace_ms: u64) -> Result<GcReport, Failure> {
        let mut report = GcReport { dry_run, generation: grace_ms, ..GcReport::default() };
        if grace_ms == 0 {
            report.problems.note(Problem::new(None, None, "a folder was left out"));
        }
        Ok(report)
    }

    async fn check(&self) -> Result<CheckReport, Failure> {
        Ok(CheckReport { folders: 3, ..CheckReport::default() })
    }

    async fn backup(&self, to: &Path) -> Result<BackupReport, Failure> {
        Err(Failure { kind: "k".into(), message: to.display().to_string(), hint: "h".into() })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn an_admin_command_reaches_the_running_server() {
    let home = tempfile::tempdir().unwrap();
    // Longer than a socket address holds.
    let data = home.path().join("d".repeat(150));
    std::fs::create_dir(&data).unwrap();
    let runtime = runtime();
    let _guard = runtime.enter();
    let socket = ControlSocket::bind(&data, Arc::new(Fixed)).unwrap();
    let mode = std::fs::metadata(data.join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    match ask(&data, &Request::Invite { life_ms: 7 }).unwrap() {
        Reply::Invitation(invitation) => assert_eq!(invitation.code, "code-7"),
        other => panic!("{other:?}"),
    }
    match ask(&data, &Request::Gc { dry_run: true, grace_ms: 9 }).unwrap() {
        Reply::Gc(report) => assert!(report.dry_run && report.generation == 9),
        other => panic!("{other:?}"),
    }
    match ask(&data, &Request::Check).unwrap() {
        Reply::Check(report) => assert_eq!(report.folders, 3),
        other => panic!("{other:?}"),
    }
    match ask(&data, &Request::Backup { to: "/to".into() }) {
        Err(AskError::Refused(failure)) => assert_eq!(failure.message, "/to"),
        other => panic!("{other:?}"),
    }
    match ask(&data, &Request::Status) {
        Err(AskError::Refused(failure)) => assert_eq!(failure.hint, "h"),
        other => panic!("{other:?}"),
    }
    runtime.block_on(socket.close());
    assert!(matches!(ask(&data, &Request::Status), Err(AskError::NotRunning { .. })));
}

#[test]
fn a_run_that_left_a_folder_out_does_not_end_as_one_that_did_not() {
    let home = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let _guard = runtime.enter();
    let _socket = ControlSocket::bind(home.path(), Arc::new(Fixed)).unwrap();
    let data = home.path().to_str().unwrap();
    let ends = |grace: &str| {
        let words = ["driftless-server", "gc", "--now", "--json", "--data", data, "--grace", grace];
        crate::cli::run(words.map(Into::into))
    };
    assert_eq!(ends("1h"), ExitCode::SUCCESS);
    assert_eq!(ends("0s"), ExitCode::from(1));
}

#[test]
fn a_server_that_does_not_run_is_told_from_a_directory_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("missing");
    assert!(matches!(ask(&missing, &Request::Status), Err(AskError::NoData { .. })));
    assert!(matches!(ask(home.path(), &Request::Status), Err(AskError::NotRunning { .. })));
}

#[test]
fn a_socket_left_by_a_killed_server_is_not_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.path().join("control.sock")).unwrap());
    assert!(matches!(ask(home.path(), &Request::Status), Err(AskError::NotRunning { .. })));
    let runtime = runtime();
    let _guard = runtime.enter();
    let _socket = ControlSocket::bind(home.path(), Arc::new(Fixed)).unwrap();
    assert!(ask(home.path(), &Request::Invite { life_ms: 1 }).is_ok());
}

#[test]
fn a_line_that_is_no_request_or_too_long_is_answered_and_bounded() {
    use std::io::{BufRead, BufReader, Write};
    let home = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let _guard = runtime.enter();
    let _socket = ControlSocket::bind(home.path(), Arc::new(Fixed)).unwrap();
    for line in [b"{}\n".to_vec(), b"\xff\n".to_vec(), vec![b'x'; LINE_BYTES_MAX]] {
        let mut stream =
            std::os::unix::net::UnixStream::connect(home.path().join("control.sock")).unwrap();
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains(r#""kind":"malformed""#), "{answer}");
    }
}
