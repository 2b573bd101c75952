//! The asking side of the control socket, for admin commands.
//!
//! Owns how a running server is found and what it means that none answers. It must not know what
//! is done with a reply.

use super::protocol::{Failure, Reply, Request};
use super::{LINE_BYTES_MAX, SocketPath};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time to wait for an answer; longer than the server lets a conversation take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);

/// Why a running server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing is at the path of the data directory.
    #[error("there is no data directory at {data}")]
    NoData {
        /// What was given.
        data: PathBuf,
    },
    /// No server runs there.
    #[error("no server runs on {data}")]
    NotRunning {
        /// The data directory.
        data: PathBuf,
    },
    /// The connection failed.
    #[error("talking to the server on {data}: {source}")]
    Io {
        /// The data directory.
        data: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server ended, or was killed, before it had answered.
    #[error("the server on {data} went away before it had answered")]
    Gone {
        /// The data directory.
        data: PathBuf,
    },
    /// What came back is not a reply that this version knows.
    #[error("the server on {data} gave an answer that this version does not understand")]
    NotUnderstood {
        /// The data directory.
        data: PathBuf,
    },
    /// The server says why not.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// Asks the server that runs on `data`. Blocks for at most a time-out of 35 seconds, or, for a request
/// that is long, until it is answered or the server is gone.
///
/// # Errors
/// [`AskError`]; [`Reply::Error`] is given as [`AskError::Refused`].
pub fn ask(data: &Path, request: &Request) -> Result<Reply, AskError> {
    if !data.is_dir() {
        return Err(AskError::NoData { data: data.to_owned() });
    }
    let line = exchange(data, request).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning { data: data.to_owned() }
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            AskError::Gone { data: data.to_owned() }
        }
        _ => AskError::Io { data: data.to_owned(), source },
    })?;
    // An answer is a whole line, unless it is longer than any that this version knows.
    if line.last() != Some(&b'\n') && line.len() < LINE_BYTES_MAX {
        return Err(AskError::Gone { data: data.to_owned() });
    }
    match serde_json::from_slice(&line) {
        Ok(Reply::Error(failure)) => Err(AskError::Refused(failure)),
        Ok(reply) => Ok(reply),
        Err(_) => Err(AskError::NotUnderstood { data: data.to_owned() }),
    }
}

fn exchange(data: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(&SocketPath::of(data)?.path)?;
    stream.set_read_timeout((!request.is_long()).then_some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut answer)?;
    Ok(answer)
}
