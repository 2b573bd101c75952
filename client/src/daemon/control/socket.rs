//! The listening side of the control socket.
//!
//! Owns the socket file, who may speak on it and the bounds of a conversation. Its task is started
//! by [`ControlSocket::bind`] and stopped by [`ControlSocket::close`] or by dropping it. It must
//! not know how a command is carried out.

use super::protocol::{Failure, Line, Request};
use super::{Commands, REQUEST_BYTES_MAX, SocketPath};
use crate::home::{Home, HomeError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Conversations at once; more wait.
const CONVERSATIONS_MAX: usize = 32;
/// Time within which a request has to arrive.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Progress lines that wait to be written.
const PROGRESS_MAX: usize = 4;

/// A listening control socket.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Binds `HOME/control.sock`. The caller holds the lock of the home, so a socket file that is
    /// there was left by a process that is gone.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn bind(home: &Home, commands: Arc<dyn Commands>) -> Result<Self, HomeError> {
        let path = home.socket_path();
        let listener = listen(&path).map_err(|source| HomeError::Io {
            doing: "listening on",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path, task: tokio::spawn(accept(listener, commands)) })
    }

    /// Stops listening and removes the socket file. Conversations under way end unanswered.
    pub async fn close(mut self) {
        self.task.abort();
        // An aborted task ends with a cancellation, which is what was asked for.
        let _cancelled = (&mut self.task).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "control socket not removed");
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&SocketPath::of(path)?.path)?;
    // Until this, the home's own mode (0700) and the check of each peer keep others out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, commands: Arc<dyn Commands>) {
    let room = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = Arc::clone(&commands);
                conversations.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = converse(stream, commands.as_ref()).await {
                        tracing::debug!(%error, "a control connection failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, commands: &dyn Commands) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reading, mut writing) = stream.into_split();
    let own = rustix::process::geteuid().as_raw();
    if peer != own && peer != 0 {
        let failure =
            Failure::new("not_owner", "the control socket is for the owner of this home", "");
        return write(&mut writing, &Line::Error(failure)).await;
    }
    let mut reading = BufReader::new(reading);
    let request = match tokio::time::timeout(REQUEST_TIME_MAX, read(&mut reading)).await {
        Ok(request) => request?,
        Err(_) => return Ok(()),
    };
    match request {
        Some(Ok(request)) => answer(reading, writing, commands, request).await,
        Some(Err(message)) => {
            let failure = Failure::new("malformed", message, "");
            write(&mut writing, &Line::Error(failure)).await
        }
        None => Ok(()),
    }
}

/// One request; `None` when the peer said nothing.
async fn read(
    reading: &mut BufReader<OwnedReadHalf>,
) -> io::Result<Option<Result<Request, String>>> {
    let mut line = Vec::new();
    if reading.take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Ok(Some(Err("a request is one line of JSON, at most 64 KiB".to_owned())));
    }
    Ok(Some(serde_json::from_slice(&line).map_err(|error| error.to_string())))
}

/// Carries a request out, with progress lines meanwhile. Ends when the peer has gone.
async fn answer(
    mut reading: BufReader<OwnedReadHalf>,
    mut writing: OwnedWriteHalf,
    commands: &dyn Commands,
    request: Request,
) -> io::Result<()> {
    let (progress, mut reported) = mpsc::channel(PROGRESS_MAX);
    let mut work = commands.carry_out(request, progress);
    let mut rest = [0; 1];
    loop {
        tokio::select! {
            outcome = &mut work => {
                while let Ok(progress) = reported.try_recv() {
                    write(&mut writing, &Line::Progress(progress)).await?;
                }
                let line = match outcome {
                    Ok(answer) => Line::Done(answer),
                    Err(failure) => Line::Error(failure),
                };
                return write(&mut writing, &line).await;
            }
            Some(progress) = reported.recv() => {
                write(&mut writing, &Line::Progress(progress)).await?;
            }
            // The peer has nothing more to say: that it can be read means that it is gone.
            _ = reading.read(&mut rest) => return Ok(()),
        }
    }
}

async fn write(writing: &mut OwnedWriteHalf, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    writing.write_all(&bytes).await
}
