//! A folder's engine: the loop that keeps three trees moving towards each other.
//!
//! Owns the order of phases (connect, pull, scan, hash, plan, push, apply), what is waited for in
//! between, and what a failure of a phase means for the next round. It must not decide what is
//! pushed or applied: that is the planner's. One engine a folder, on a thread of its own, started by
//! [`start`] and stopped by dropping all its handles.

mod answers;
mod conflicts;
mod converted;
mod execute;
mod explain;
mod guarded;
mod halt;
pub mod handle;
mod history;
pub mod labels;
mod mergeable;
mod merging;
mod mistrust;
mod online;
mod phases;
mod planning;
mod reopening;
mod rules;
mod run;
mod settling;
mod told;
mod waiting;

pub use handle::{
    Ask, AskError, Comparison, ConflictInfo, ConflictSide, FolderHandle, FolderStatus,
    FolderSummary, HaltReason, Keep, ListedEntry, MergeInfo, NewContent, PathIssue, Progress,
    Settlement, VersionInfo,
};
pub use run::{Engine, Wake};

pub(crate) use run::first_summary;

use crate::context::FolderContext;
use crate::watch::Hints;
use common::ids::{DeviceId, FolderId};
use common::revision::Cursor;
use common::trust::DeviceLog;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// How far each folder's journal was seen, kept in a synced file beside the keys and not in the
/// state database: a database from yesterday must not make this device believe an older history.
pub trait Pins: Send + Sync {
    /// The furthest position of a folder that was pinned.
    fn pinned(&self, folder: &FolderId) -> Option<Cursor>;

    /// Pins a position durably.
    ///
    /// # Errors
    /// What the disk said; the engine tries again with the next position.
    fn pin(&self, folder: &FolderId, cursor: &Cursor) -> io::Result<()>;
}

/// Reads the user's device log again, for when a device signs that this one has not heard of.
pub trait LogSource: Send + Sync {
    /// The verified log, at least as long as the one this device had; `None` when the server cannot
    /// be asked now.
    fn refresh(&self, device: DeviceId) -> Pin<Box<dyn Future<Output = Option<DeviceLog>> + Send>>;
}

/// What an engine is made of.
pub struct EngineParts {
    /// Keys, disk, server, state, environment.
    pub context: FolderContext,
    /// What the watcher noticed.
    pub hints: Hints,
    /// Pinned positions.
    pub pins: Arc<dyn Pins>,
    /// The device log's source.
    pub log: Arc<dyn LogSource>,
    /// The checkpoint's position that the invitation named.
    pub invited: Option<Cursor>,
    /// Whether a person has paused this folder.
    pub paused: bool,
}

/// Questions that may wait for the engine.
const ASKS_MAX: usize = 64;

/// Makes an engine and its handle without running it.
///
/// # Errors
/// [`crate::state::StateError`] when the state cannot be read.
pub fn assemble(parts: EngineParts) -> Result<(Engine, FolderHandle), crate::state::StateError> {
    let (asks, inbox) = mpsc::channel(ASKS_MAX);
    let (summaries, summary) = watch::channel(first_summary());
    let engine = Engine::new(parts, inbox, summaries)?;
    Ok((engine, FolderHandle::new(asks, summary)))
}

/// Starts an engine on a thread of its own: its state database is for one thread alone. `parts` is
/// called on that thread; an error of it shows as the reason for which the folder is halted.
///
/// # Errors
/// What the system said when it gave no thread.
pub fn start<E: Into<HaltReason> + Send + 'static>(
    name: &str,
    parts: impl FnOnce() -> Result<EngineParts, E> + Send + 'static,
    runtime: tokio::runtime::Handle,
) -> io::Result<(FolderHandle, std::thread::JoinHandle<()>)> {
    let (asks, inbox) = mpsc::channel(ASKS_MAX);
    let (summaries, summary) = watch::channel(first_summary());
    let thread = std::thread::Builder::new().name(format!("folder {name}")).spawn(move || {
        let engine = parts().map_err(Into::into).and_then(|parts| {
            Engine::new(parts, inbox, summaries.clone()).map_err(HaltReason::from)
        });
        match engine {
            Ok(engine) => runtime.block_on(engine.run()),
            Err(reason) => {
                tracing::error!(reason = reason.message, "a folder cannot be opened");
                summaries.send_modify(|summary| {
                    summary.status = FolderStatus::Halted;
                    summary.trouble = Some(reason.message.clone());
                    summary.halt = Some(reason);
                });
            }
        }
    })?;
    Ok((FolderHandle::new(asks, summary), thread))
}
