//! The control socket, both sides.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

struct Fixed;

#[async_trait]
impl Commands for Fixed {
    async fn carry_out(
        &self,
        request: Request,
        progress: ProgressSender,
    ) -> Result<Answer, Failure> {
        match request {
            Request::Sync { .. } => {
                // The receiver is there as long as this runs.
                progress.send(Vec::new()).await.unwrap();
                Ok(Answer::Sync(SyncAnswer { in_sync: true, conflicts: 0, folders: Vec::new() }))
            }
            Request::Status => std::future::pending().await,
            _ => Err(Failure::new("k", "m", "h")),
        }
    }
}

fn home(directory: &Path) -> crate::home::Home {
    crate::home::Home::locate(Some(directory.to_owned())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_command_reaches_the_running_daemon() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than a socket address holds.
    let long = directory.path().join("d".repeat(150));
    std::fs::create_dir(&long).unwrap();
    let home = home(&long);
    let runtime = runtime();
    let _guard = runtime.enter();
    let socket = ControlSocket::bind(&home, Arc::new(Fixed)).unwrap();
    let mut reports = 0;
    let answer = ask(&home, &Request::Sync { timeout_ms: None }, |_| reports += 1).unwrap();
    assert_eq!(
        answer,
        Answer::Sync(SyncAnswer { in_sync: true, conflicts: 0, folders: Vec::new() })
    );
    assert_eq!(reports, 1);
    match ask(&home, &Request::Conflicts { path: None, diff: false }, |_| ()) {
        Err(AskFailure::Refused(failure)) => assert_eq!(failure.hint, "h"),
        other => panic!("{other:?}"),
    }
    runtime.block_on(socket.close());
    let asked = ask(&home, &Request::Conflicts { path: None, diff: false }, |_| ());
    assert!(matches!(asked, Err(AskFailure::NotRunning)));
}

#[test]
fn a_line_that_is_no_request_is_answered_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(directory.path());
    let runtime = runtime();
    let _guard = runtime.enter();
    let _socket = ControlSocket::bind(&home, Arc::new(Fixed)).unwrap();
    let max = usize::try_from(REQUEST_BYTES_MAX).unwrap();
    for line in [b"{}\n".to_vec(), b"\xff\n".to_vec(), vec![b'x'; max]] {
        let mut stream = std::os::unix::net::UnixStream::connect(home.socket_path()).unwrap();
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains(r#""kind":"malformed""#), "{answer}");
    }
}

#[test]
fn commands_whose_asker_has_gone_make_room_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(directory.path());
    let runtime = runtime();
    let _guard = runtime.enter();
    let _socket = ControlSocket::bind(&home, Arc::new(Fixed)).unwrap();
    for _ in 0..100 {
        let mut stream = std::os::unix::net::UnixStream::connect(home.socket_path()).unwrap();
        stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
    }
    assert!(ask(&home, &Request::Sync { timeout_ms: None }, |_| ()).is_ok());
}
