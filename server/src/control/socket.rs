//! The listening side of the control socket.
//!
//! Owns the socket file, who may speak on it and the bounds of a conversation. Its task is started
//! by [`ControlSocket::bind`] and stopped by [`ControlSocket::close`] or by dropping it. It must
//! not know how a command is carried out.

use super::protocol::{Failure, Reply, Request};
use super::{Admin, LINE_BYTES_MAX, SocketPath};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Conversations at once.
const CONVERSATIONS_MAX: usize = 8;
/// Time that a peer may take for a request, or for reading a reply; and time that a request may take
/// that does not depend on how much is stored.
const CONVERSATION_TIME_MAX: Duration = Duration::from_secs(30);
/// Wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("opening the control socket {path}: {source}")]
pub struct ControlError {
    /// The socket file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A listening control socket.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Binds `DATA/control.sock`. The caller holds the lock of `data`, so a socket file that is
    /// there was left by a process that is gone.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn bind(data: &Path, admin: Arc<dyn Admin>) -> Result<Self, ControlError> {
        let path = data.join("control.sock");
        let listener =
            listen(data, &path).map_err(|source| ControlError { path: path.clone(), source })?;
        let task = tokio::spawn(accept(listener, admin));
        Ok(Self { path, task })
    }

    /// Stops listening and removes the socket file. Conversations under way end unanswered.
    pub async fn close(mut self) {
        self.task.abort();
        // An aborted task ends with a cancellation, which is what was asked for.
        let _ = (&mut self.task).await;
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

fn listen(data: &Path, path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&SocketPath::of(data)?.path)?;
    // Until this, the directory's own mode (0700) and the check of each peer keep others out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, admin: Arc<dyn Admin>) {
    let room = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = Arc::clone(&admin);
                conversations.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = converse(stream, admin).await {
                        tracing::debug!(%error, "control connection failed");
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

async fn converse(stream: UnixStream, admin: Arc<dyn Admin>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reading, mut writing) = stream.into_split();
    let own = rustix::process::geteuid().as_raw();
    if peer != own && peer != 0 {
        let failure = failure("not_owner", "the control socket is for the server's owner");
        return reply(&mut writing, &Reply::Error(failure)).await;
    }
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES_MAX as u64;
        let request = async { (&mut reading).take(limit).read_until(b'\n', &mut line).await };
        if in_time(request).await? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let failure = failure("malformed", "a request is one line of JSON, at most 64 KiB");
            return reply(&mut writing, &Reply::Error(failure)).await;
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if request.is_long() => carry_out(admin.as_ref(), request).await,
            Ok(request) => in_time(async { Ok(carry_out(admin.as_ref(), request).await) }).await?,
            Err(error) => Reply::Error(failure("malformed", &error.to_string())),
        };
        reply(&mut writing, &answer).await?;
    }
}

async fn carry_out(admin: &dyn Admin, request: Request) -> Reply {
    let answer = match request {
        Request::Invite { life_ms } => admin.invite(life_ms).await.map(Reply::Invitation),
        Request::Status => admin.status().await.map(Reply::Status),
        Request::Gc { dry_run, grace_ms } => {
            admin.gc(dry_run, grace_ms).await.map(|report| Reply::Gc(Box::new(report)))
        }
        Request::Check => admin.check().await.map(Reply::Check),
        Request::Backup { to } => admin.backup(&to).await.map(Reply::Backup),
    };
    answer.unwrap_or_else(Reply::Error)
}

fn failure(kind: &str, message: &str) -> Failure {
    Failure { kind: kind.to_owned(), message: message.to_owned(), hint: String::new() }
}

async fn reply(writing: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    in_time(writing.write_all(&line)).await
}

async fn in_time<T>(part: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(CONVERSATION_TIME_MAX, part).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
