//! The service's handle on the metadata.
//!
//! Owns the ways in: commands, reads, and waiting for news. It must not know the rules.

use super::db::MetaDb;
use super::news::Position;
use super::writer::{Core, Job, QUEUE_COMMANDS_MAX, SyncFaults, run};
use common::ids::FolderId;
use server_core::metadata::{Answer, Command, Event, MetaReads, Refused, StoreError, Stored};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};

/// Why a command or a read did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The rules refuse it; it had no effect.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The disk is full; it had no effect, and reads go on.
    #[error("the metadata's disk is full")]
    DiskFull,
    /// The store stopped after a failed write, or is closed: whether the command had an effect is
    /// not known.
    #[error("the metadata store has stopped")]
    Stopped,
    /// A read failed.
    #[error("the metadata cannot be read")]
    Read(#[source] StoreError),
}

impl MetaError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::DiskFull => true,
            Self::Read(error) => error.is_retryable(),
            Self::Refused(_) | Self::Stopped => false,
        }
    }
}

/// The metadata of a server. Clones share it.
#[derive(Clone)]
pub struct MetaHandle {
    core: Arc<Core>,
    writer: Writer,
}

#[derive(Clone)]
enum Writer {
    /// Commands are carried out by whoever sends them.
    Inline,
    /// Commands go to the writer thread.
    Thread {
        queue: Arc<Mutex<Option<mpsc::Sender<Job>>>>,
        thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    },
}

impl MetaHandle {
    /// Starts the writer thread. It ends when the last handle is dropped, or by
    /// [`MetaHandle::close`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(db: MetaDb) -> std::io::Result<Self> {
        let core = Arc::new(Core::new(db));
        let (queue, jobs) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let writing = Arc::clone(&core);
        let thread = std::thread::Builder::new()
            .name("metadata".to_owned())
            .spawn(move || run(&writing, jobs))?;
        let writer = Writer::Thread {
            queue: Arc::new(Mutex::new(Some(queue))),
            thread: Arc::new(Mutex::new(Some(thread))),
        };
        Ok(Self { core, writer })
    }

    /// Without a thread: a command is carried out inside the call, in a transaction of its own, so
    /// that a simulation is deterministic. Another handle on the same database is a restarted
    /// server.
    #[must_use]
    pub fn inline(db: MetaDb) -> Self {
        Self { core: Arc::new(Core::new(db)), writer: Writer::Inline }
    }

    /// As [`MetaHandle::inline`], on a disk whose syncs fail as `faults` says.
    #[must_use]
    pub fn inline_failing(db: MetaDb, faults: SyncFaults) -> Self {
        Self { core: Arc::new(Core::failing(db, faults)), writer: Writer::Inline }
    }

    /// Carries out a command. Durable when it returns; commands that wait at the same time share a
    /// sync. Waits while the queue is full. Dropping the future does not take a queued command back.
    ///
    /// # Errors
    /// [`MetaError::Refused`] by the rules, else what the store says.
    pub async fn apply(&self, command: Command) -> Result<Answer, MetaError> {
        let queue = match &self.writer {
            Writer::Inline => return self.apply_here(&command),
            Writer::Thread { queue, .. } => {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
        };
        let Some(queue) = queue else { return Err(MetaError::Stopped) };
        let (reply, answer) = oneshot::channel();
        queue.send(Job { command, reply }).await.map_err(|_| MetaError::Stopped)?;
        answer.await.unwrap_or(Err(MetaError::Stopped))
    }

    /// Carries out a command on the calling thread, beside the queue; blocks. For tools that have
    /// the database to themselves, and for the simulation.
    ///
    /// # Errors
    /// As [`MetaHandle::apply`].
    pub fn apply_here(&self, command: &Command) -> Result<Answer, MetaError> {
        let answers = self.core.carry_out(std::iter::once(command));
        answers.into_iter().next().unwrap_or(Err(MetaError::Stopped))
    }

    /// Reads one snapshot, on the calling thread; blocks while it reads from disk. What a command
    /// wrote is seen once that command has been answered.
    ///
    /// # Errors
    /// [`MetaError::Read`].
    pub fn read<T>(&self, read: impl FnOnce(&dyn MetaReads) -> Stored<T>) -> Result<T, MetaError> {
        self.core.db.read(read).map_err(MetaError::Read)
    }

    /// Changes after each commit to a folder, and when it begins a new epoch. To miss nothing, first
    /// take the receiver, then read, then wait.
    #[must_use]
    pub fn watch_folder(&self, folder: &FolderId) -> watch::Receiver<Position> {
        self.core.news.folder(folder)
    }

    /// Has every event told to `listener`, on the thread that carried the command out: after the
    /// command is durable and before it is answered. The listener may read, and must not wait for a
    /// command. There is one; says whether this is it.
    pub fn listen(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> bool {
        self.core.news.listen(Box::new(listener))
    }

    /// Turns true when the store has stopped.
    #[must_use]
    pub fn watch_stopped(&self) -> watch::Receiver<bool> {
        self.core.stopped.subscribe()
    }

    /// Whether the store has stopped: commands are refused, and what it reads may be of a disk that
    /// fails.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.core.is_stopped()
    }

    /// The database, for copies of it.
    #[must_use]
    pub fn db(&self) -> &MetaDb {
        &self.core.db
    }

    /// Takes no more commands, carries out those that are queued, and ends the writer thread. Blocks
    /// until it has ended.
    pub fn close(&self) {
        if let Writer::Thread { queue, thread } = &self.writer {
            drop(queue.lock().unwrap_or_else(PoisonError::into_inner).take());
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread
                && thread.join().is_err()
            {
                tracing::error!("the metadata's writer thread has panicked");
            }
        }
        self.core.stopped.send_replace(true);
    }
}
