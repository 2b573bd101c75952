//! The asking side of the control socket, for commands.
//!
//! Owns how a running daemon is found and what it means that none answers. It must not know what is
//! done with an answer.

use super::protocol::{Failure, Line, Request};
use super::{ANSWER_BYTES_MAX, Answer, FolderProgress, SocketPath};
use crate::home::Home;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// Why a running daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskFailure {
    /// No daemon runs on this home.
    #[error("driftless does not run on this home")]
    NotRunning,
    /// A path of the request is not UTF-8, as JSON is.
    #[error("a path is not UTF-8, and driftless does not work with such paths")]
    NotUtf8,
    /// The connection failed.
    #[error("talking to the running driftless: {0}")]
    Io(#[source] io::Error),
    /// The daemon stopped before it answered.
    #[error("the running driftless stopped before it answered")]
    Stopped,
    /// What came back is not an answer that this version knows.
    #[error("the running driftless gave an answer that this version does not understand")]
    NotUnderstood,
    /// The daemon says why not.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// Asks the daemon that runs on a home and waits for the answer, however long that takes.
///
/// # Errors
/// [`AskFailure`].
pub fn ask(
    home: &Home,
    request: &Request,
    mut on_progress: impl FnMut(&[FolderProgress]),
) -> Result<Answer, AskFailure> {
    let mut stream = connect(home).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskFailure::NotRunning,
        _ => AskFailure::Io(error),
    })?;
    let mut line = serde_json::to_vec(request).map_err(|_| AskFailure::NotUtf8)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(AskFailure::Io)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let limited = &mut reader.by_ref().take(ANSWER_BYTES_MAX);
        limited.read_until(b'\n', &mut line).map_err(AskFailure::Io)?;
        if line.is_empty() {
            return Err(AskFailure::Stopped);
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Progress(progress)) => on_progress(&progress),
            Ok(Line::Done(answer)) => return Ok(answer),
            Ok(Line::Error(failure)) => return Err(AskFailure::Refused(failure)),
            Err(_) => return Err(AskFailure::NotUnderstood),
        }
    }
}

fn connect(home: &Home) -> io::Result<UnixStream> {
    UnixStream::connect(&SocketPath::of(&home.socket_path())?.path)
}
