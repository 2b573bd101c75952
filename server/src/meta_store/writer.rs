//! Carrying out commands: many in one transaction, answered once it is durable.
//!
//! Owns the writer thread, which [`super::MetaHandle::spawn`] starts and which ends when the last
//! handle is dropped or [`super::MetaHandle::close`] is called, after it has carried out what was
//! queued. After a failed write nothing is written any more (M8): what happened to a failed sync's
//! pages is unknowable, so it is never tried again as success. A full disk is no such failure: the
//! transaction is undone and the store serves on.

use super::db::MetaDb;
use super::handle::MetaError;
use super::news::News;
use server_core::metadata::{Answer, Command, StoreError, apply};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that wait for the writer; whoever sends more waits.
pub(super) const QUEUE_COMMANDS_MAX: usize = 1024;
/// Commands that share one transaction, and so one sync.
const BATCH_COMMANDS_MAX: usize = 256;

/// A command and where its answer goes.
pub(super) struct Job {
    pub(super) command: Command,
    pub(super) reply: oneshot::Sender<Result<Answer, MetaError>>,
}

/// A sync of the database that fails: nobody can know what of the transaction is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedSync {
    /// Nothing is.
    Lost,
    /// All of it is, and a later start finds it.
    Kept,
}

/// Asked before each transaction whether its sync fails: how a simulation breaks the disk.
pub type SyncFaults = Arc<dyn Fn() -> Option<FailedSync> + Send + Sync>;

/// The database, its news, and whether it still serves.
pub(super) struct Core {
    pub(super) db: MetaDb,
    pub(super) news: News,
    pub(super) stopped: watch::Sender<bool>,
    faults: Option<SyncFaults>,
}

impl Core {
    pub(super) fn new(db: MetaDb) -> Self {
        Self { db, news: News::new(), stopped: watch::Sender::new(false), faults: None }
    }

    pub(super) fn failing(db: MetaDb, faults: SyncFaults) -> Self {
        Self { faults: Some(faults), ..Self::new(db) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Carries out commands in order, in one transaction; tells of the news. One answer for each.
    pub(super) fn carry_out<'a>(
        &self,
        commands: impl ExactSizeIterator<Item = &'a Command>,
    ) -> Vec<Result<Answer, MetaError>> {
        let count = commands.len();
        if self.is_stopped() {
            return repeat(count, || MetaError::Stopped);
        }
        let fault = self.faults.as_ref().and_then(|faults| faults());
        let outcomes = self.db.transact(|store| {
            let outcomes: Result<Vec<_>, _> =
                commands.map(|command| apply(store, command)).collect();
            outcomes.and_then(|outcomes| failed_if(fault == Some(FailedSync::Lost), outcomes))
        });
        let is_kept = fault == Some(FailedSync::Kept);
        match outcomes.and_then(|outcomes| failed_if(is_kept, outcomes)) {
            Ok(outcomes) => {
                for outcome in &outcomes {
                    self.news.tell(&outcome.events);
                }
                outcomes.into_iter().map(|o| o.answer.map_err(MetaError::Refused)).collect()
            }
            Err(StoreError::DiskFull) => {
                tracing::warn!("the metadata's disk is full: commands are refused");
                repeat(count, || MetaError::DiskFull)
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the metadata store failed: it stops serving");
                self.stopped.send_replace(true);
                repeat(count, || MetaError::Stopped)
            }
        }
    }
}

fn failed_if<T>(failed: bool, value: T) -> Result<T, StoreError> {
    let error = || std::io::Error::from(rustix::io::Errno::IO);
    if failed { Err(StoreError::Failed(Box::new(error()))) } else { Ok(value) }
}

fn repeat(count: usize, error: impl Fn() -> MetaError) -> Vec<Result<Answer, MetaError>> {
    (0..count).map(|_| Err(error())).collect()
}

/// Ends as stopped whatever ends it, a panic included.
struct StopOnExit<'a>(&'a Core);

impl Drop for StopOnExit<'_> {
    fn drop(&mut self) {
        self.0.stopped.send_replace(true);
    }
}

/// The writer thread's life: takes what is queued, up to a batch, and carries it out.
pub(super) fn run(core: &Core, mut queue: mpsc::Receiver<Job>) {
    let _stop = StopOnExit(core);
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH_COMMANDS_MAX
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let answers = core.carry_out(jobs.iter().map(|job| &job.command));
        for (job, answer) in jobs.into_iter().zip(answers) {
            // Whoever asked may have gone away; the command stands all the same.
            drop(job.reply.send(answer));
        }
    }
}
