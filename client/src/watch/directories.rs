//! Which directories have a watch.
//!
//! Owns the thread that gives each directory its watch: all at the start and after events were
//! lost, and each new one as it appears. It is the only one to speak to the watcher, since
//! notify's own thread must not wait for itself. [`super::Watch`] starts and stops it.

use super::sort::{is_private, place_of};
use super::{Hint, Hints, Shared, WatchState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Something appeared that may be a directory.
    Appeared(PathBuf),
    /// Look at the flags.
    Wake,
    /// End.
    Stop,
}

/// Gives one directory a watch.
pub(super) trait Registrar: Send {
    /// Watches one directory and not what is below it; again is no error.
    fn watch(&mut self, directory: &Path) -> notify::Result<()>;
}

/// Makes a registrar.
pub(super) type MakeRegistrar = Box<dyn Fn() -> notify::Result<Box<dyn Registrar>> + Send>;

/// How watching a subtree ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    All,
    LimitReached,
    Unavailable,
    NoRoot,
    Stopped,
}

/// Why a directory got no watch or was not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It is gone, no directory any more, or may not be read.
    Directory,
    /// The system gives no more watches, files or memory.
    System,
}

impl Refused {
    fn by(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied => Self::Directory,
            _ => Self::System,
        }
    }
}

/// The thread's own state.
pub(super) struct Directories {
    root: PathBuf,
    hints: Hints,
    shared: Arc<Shared>,
    rescan_every: Duration,
    make: MakeRegistrar,
    registrar: Option<Box<dyn Registrar>>,
    /// Watches given since all were given anew; those of removed directories are not taken off.
    watched: u64,
}

impl Directories {
    pub(super) fn new(
        root: PathBuf,
        hints: Hints,
        shared: Arc<Shared>,
        rescan_every: Duration,
        make: MakeRegistrar,
    ) -> Self {
        Self { root, hints, shared, rescan_every, make, registrar: None, watched: 0 }
    }

    /// The thread: returns when it is asked to stop or nobody can ask any more.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        self.watch_all();
        let mut rescan_at = Instant::now() + self.rescan_every;
        loop {
            let complete = matches!(self.shared.state(), WatchState::Complete { .. });
            let request = if complete {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(rescan_at.saturating_duration_since(Instant::now()))
            };
            if self.shared.stop.load(Ordering::SeqCst) {
                return;
            }
            match request {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Request::Appeared(path)) => self.appeared(&path),
                Ok(Request::Wake) => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.shared.watch_all.store(true, Ordering::SeqCst)
                }
            }
            if self.shared.watch_all.swap(false, Ordering::SeqCst) {
                self.watch_all();
                rescan_at = Instant::now() + self.rescan_every;
            }
        }
    }

    /// Watches all directories, and then hints at everything.
    fn watch_all(&mut self) {
        self.watched = 0;
        if self.registrar.is_none() {
            match (self.make)() {
                Ok(registrar) => self.registrar = Some(registrar),
                Err(error) => tracing::warn!(%error, "no watcher; the folder is rescanned"),
            }
        }
        let ended = match &self.registrar {
            None => Watched::Unavailable,
            Some(_) => self.watch_subtree(&self.root.clone()),
        };
        let directories = self.watched;
        let state = match ended {
            Watched::All => WatchState::Complete { directories },
            Watched::LimitReached => WatchState::LimitReached { directories },
            Watched::Unavailable => WatchState::Unavailable,
            Watched::NoRoot => WatchState::NoRoot,
            Watched::Stopped => return,
        };
        self.shared.set_state(state);
        self.hints.push(Hint::Everything);
    }

    /// Watches what appeared, if it is a directory, and then hints at what it held by then.
    fn appeared(&mut self, path: &Path) {
        let Some(place) = place_of(path, &self.root) else {
            return;
        };
        // Gone again, or no directory: the hint for the path itself was given already.
        if !self.is_ours(path).unwrap_or(false) {
            return;
        }
        let ended = self.watch_subtree(path);
        let directories = self.watched;
        let state = match (ended, self.shared.state()) {
            (Watched::Stopped, _) => return,
            (Watched::All, WatchState::Complete { .. }) => WatchState::Complete { directories },
            (Watched::All, WatchState::LimitReached { .. }) | (Watched::LimitReached, _) => {
                WatchState::LimitReached { directories }
            }
            (Watched::All | Watched::Unavailable | Watched::NoRoot, before) => before,
        };
        self.shared.set_state(state);
        self.hints.push(Hint::Subtree(place));
    }

    /// Watches a directory and all below it. Each is watched before it is listed, so that what
    /// comes later makes an event and what came before is listed.
    fn watch_subtree(&mut self, top: &Path) -> Watched {
        let mut open = vec![top.to_path_buf()];
        while let Some(directory) = open.pop() {
            if self.shared.stop.load(Ordering::SeqCst) {
                return Watched::Stopped;
            }
            let found = match self.watch_one(&directory) {
                Ok(()) => self.directories_in(&directory),
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => open.extend(found),
                Err(Refused::Directory) if directory == self.root => return Watched::NoRoot,
                // Removed meanwhile, or not ours to read: the scanner will say so.
                Err(Refused::Directory) => {}
                Err(Refused::System) => {
                    let watched = self.watched;
                    tracing::warn!(watched, "the system gives no more watches");
                    return Watched::LimitReached;
                }
            }
        }
        Watched::All
    }

    fn watch_one(&mut self, directory: &Path) -> Result<(), Refused> {
        let Some(registrar) = &mut self.registrar else {
            return Err(Refused::System);
        };
        registrar.watch(directory).map_err(|error| match error.kind {
            notify::ErrorKind::PathNotFound => Refused::Directory,
            notify::ErrorKind::Io(error) => Refused::by(&error),
            _ => Refused::System,
        })?;
        self.watched += 1;
        Ok(())
    }

    fn directories_in(&self, directory: &Path) -> Result<Vec<PathBuf>, Refused> {
        let is_root = directory == self.root;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(|error| Refused::by(&error))? {
            let entry = entry.map_err(|error| Refused::by(&error))?;
            let own = is_root && is_private(entry.file_name().as_bytes());
            // A link is no directory here. What is gone again needs no watch.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !own && is_directory && self.is_ours(&entry.path()).unwrap_or(false) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// Whether this is a directory on the root's filesystem.
    fn is_ours(&self, path: &Path) -> io::Result<bool> {
        let root = std::fs::metadata(&self.root)?.dev();
        let metadata = path.symlink_metadata()?;
        Ok(metadata.is_dir() && metadata.dev() == root)
    }
}
