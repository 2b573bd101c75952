//! Hints about what changed below a root, from the system's own notifications.
//!
//! Owns the watches and the [`Hints`] that come of them. A hint says where to look, never what
//! happened: the scanner looks for itself. It reads no file and knows no entry.
//!
//! [`Watch::start`] starts one thread (`watch`) beside notify's own; dropping the [`Watch`] stops
//! both. The first hint is [`Hint::Everything`], once all directories are watched: a scan that
//! begins after it misses nothing.
//!
//! What notify's users trip over, and what is done here: our own hashing makes `Access` events
//! (dropped first, but for the close of a writer, the only sign of a write through a mapping);
//! a lost event is told without paths (tested before them); a new directory has content before
//! it has a watch (watched, then listed, then hinted as a subtree). Each directory is watched on
//! its own, so that `.driftless`, other filesystems and links get no watch.

mod directories;
mod queue;
mod sort;

#[cfg(test)]
mod tests;

pub use queue::Hints;

use crate::fs::RelPath;
use directories::{Directories, Registrar, Request};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use sort::sort;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// New directories that may wait for their watch; beyond this all are watched anew.
const REQUESTS_MAX: usize = 4096;

/// Where something may have changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// At this path; of a directory, also which entries it has, but nothing below those.
    Path(RelPath),
    /// At this path and anywhere below it.
    Subtree(RelPath),
    /// Anywhere, new directories included.
    Everything,
}

/// How far the watches can be relied on; for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchState {
    /// The directories are being watched one after the other.
    #[default]
    Starting,
    /// Every directory is watched.
    Complete {
        /// About how many there are: removed ones count until all are watched anew.
        directories: u64,
    },
    /// The system gives no more watches (`fs.inotify.max_user_watches`) or open files: changes
    /// in other directories are found by the periodic rescan, which also tries again.
    LimitReached {
        /// About how many directories are watched.
        directories: u64,
    },
    /// Nothing is watched, since the system gives no watcher (`fs.inotify.max_user_instances`):
    /// there is the periodic rescan alone, which also tries again.
    Unavailable,
    /// Nothing is watched, since the root is not there or cannot be read; it is tried again with
    /// each rescan.
    NoRoot,
}

/// What a watch may do without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// While not all is watched: time between two hints for everything.
    pub rescan_every: Duration,
    /// Hints kept until they are taken; more become one for everything.
    pub hints_max: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { rescan_every: Duration::from_secs(60), hints_max: 8192 }
    }
}

/// The watches of one root. Dropping it ends them and its threads.
#[derive(Debug)]
pub struct Watch {
    hints: Hints,
    shared: Arc<Shared>,
    requests: SyncSender<Request>,
    thread: Option<JoinHandle<()>>,
}

/// Why a watch was not started.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no thread.
    #[error("the watching thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl Watch {
    /// Watches a root, given by its absolute path. A system that gives no watcher is no error but
    /// [`WatchState::Unavailable`].
    ///
    /// # Errors
    /// [`WatchError::Thread`].
    pub fn start(root: &Path, options: WatchOptions) -> Result<Self, WatchError> {
        Self::start_with(root, options, |root, hints, shared, requests| {
            let handler = Handler { root: root.clone(), hints, shared, requests };
            let config = Config::default().with_follow_symlinks(false);
            let watcher = RecommendedWatcher::new(move |event| handler.handle(event), config)?;
            Ok(Box::new(NotifyRegistrar { watcher }) as Box<dyn Registrar>)
        })
    }

    fn start_with<F>(root: &Path, options: WatchOptions, make: F) -> Result<Self, WatchError>
    where
        F: Fn(
                &PathBuf,
                Hints,
                Arc<Shared>,
                SyncSender<Request>,
            ) -> notify::Result<Box<dyn Registrar>>
            + Send
            + 'static,
    {
        let hints = Hints::new(options.hints_max);
        let shared = Arc::new(Shared::default());
        let (requests, received) = sync_channel(REQUESTS_MAX);
        let root = root.to_path_buf();
        let directories = {
            let (hints, shared, requests) = (hints.clone(), Arc::clone(&shared), requests.clone());
            let at = root.clone();
            let again = (hints.clone(), Arc::clone(&shared));
            let make = move || make(&at, hints.clone(), Arc::clone(&shared), requests.clone());
            let (hints, shared) = again;
            Directories::new(root, hints, shared, options.rescan_every, Box::new(make))
        };
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || directories.run(&received))
            .map_err(WatchError::Thread)?;
        Ok(Self { hints, shared, requests, thread: Some(thread) })
    }

    /// Where the hints are taken from.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// How far the watches can be relied on.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.shared.state()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // If the queue is full the thread is awake and sees the flag.
        let _woken = self.requests.try_send(Request::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watching thread panicked");
        }
    }
}

/// What the thread, notify's handler and the owner share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Set when an event was lost, so that there may be directories without a watch.
    watch_all: AtomicBool,
    state: Mutex<WatchState>,
}

impl Shared {
    fn state(&self) -> WatchState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: WatchState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Turns notify's events into hints, on notify's thread; never waits.
struct Handler {
    root: PathBuf,
    hints: Hints,
    shared: Arc<Shared>,
    requests: SyncSender<Request>,
}

impl Handler {
    fn handle(&self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "a watch failed; everything is looked at again");
                return self.lost();
            }
        };
        let sorted = sort(&event, &self.root);
        if sorted.lost {
            return self.lost();
        }
        for hint in sorted.hints {
            self.hints.push(hint);
        }
        for path in sorted.appeared {
            match self.requests.try_send(Request::Appeared(path)) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(_)) => return self.lost(),
            }
        }
    }

    fn lost(&self) {
        self.shared.watch_all.store(true, Ordering::SeqCst);
        self.hints.push(Hint::Everything);
        // A full queue keeps the thread awake, and it looks at the flag each time.
        let _woken = self.requests.try_send(Request::Wake);
    }
}

struct NotifyRegistrar {
    watcher: RecommendedWatcher,
}

impl Registrar for NotifyRegistrar {
    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        self.watcher.watch(directory, RecursiveMode::NonRecursive)
    }
}
