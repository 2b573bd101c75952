//! A root in memory for the seeded simulation: deterministic, hostile and crashable.
//!
//! Owns [`MemoryFs`] and the simulator's controls over it: faults, capacity, mounts, a hook before
//! each operation, crashes. What programs of the user do is in [`user`]; what a power cut leaves
//! is in `durable`. It knows nothing of the engine and reads no clock of its own.
//!
//! What it reproduces, because engines have lost data to it: inode numbers used again at once
//! (the lowest free one, as ext4 does), ctime changed by rename and chmod, open handles that
//! still write to a displaced inode, files emptied and entries forgotten by a power cut, a failed
//! sync that drops what it should have written.

pub mod user;

mod durable;
mod file;
mod look;
mod nodes;
mod root;
mod swap;

use super::error::FsError;
use super::path::RelPath;
use nodes::State;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use user::MemoryUser;

/// Gives the time in ns since 1970.
pub type ClockNs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Called before each operation of ours, with nothing locked: it may act as the user, and may
/// make the operation fail.
pub type Hook = Arc<dyn Fn(&MemoryUser, &Operation) -> Option<Fault> + Send + Sync>;

/// An operation about to be done through the traits of `fs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Counts all operations of this root from 1; crashes do not reset it.
    pub number: u64,
    /// What is to be done.
    pub kind: OperationKind,
    /// To what; of two paths the first, of a whole root the root.
    pub path: RelPath,
    /// Of two paths the second.
    pub to: Option<RelPath>,
}

/// What an operation does, for hooks to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// `list`.
    List,
    /// `stat` of a path or an open file.
    Stat,
    /// `read_link`.
    ReadLink,
    /// `open`.
    Open,
    /// `read_at`, or its first piece.
    Read,
    /// A further piece of a `read_at`: others may write in between, as they may during a read(2).
    ReadOn,
    /// `stage`, `reopen`.
    Stage,
    /// `write_at`, `truncate`, `preallocate`.
    Write,
    /// `set_attributes` of a path or a staged file.
    SetAttributes,
    /// `make_directory`.
    MakeDirectory,
    /// `make_symlink`.
    MakeSymlink,
    /// `link`.
    Link,
    /// `rename_noreplace`.
    Rename,
    /// `exchange`.
    Exchange,
    /// `remove`, `remove_directory`.
    Remove,
    /// `writer_absent`.
    WriterAbsent,
    /// `sync` of paths or an open file.
    Sync,
    /// `init_root`.
    InitRoot,
    /// `read_marker`.
    ReadMarker,
    /// `free_space`.
    FreeSpace,
}

/// A failure to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A sync that fails so also loses what it should have written.
    Io,
    /// ENOSPC.
    NoSpace,
    /// EMFILE.
    TooManyOpenFiles,
    /// EACCES.
    Denied,
}

impl Fault {
    fn errno(self) -> Errno {
        match self {
            Self::Io => Errno::IO,
            Self::NoSpace => Errno::NOSPC,
            Self::TooManyOpenFiles => Errno::MFILE,
            Self::Denied => Errno::ACCESS,
        }
    }
}

/// What our operations find at the root's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootState {
    /// The root.
    Present,
    /// Nothing: every operation fails, and the marker's with `RootGone`.
    Gone,
    /// An empty directory without a marker, as when the root's disk is not mounted.
    Empty,
}

/// What kind of filesystem to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Whether names that differ by case or normalisation alone are one.
    pub case_insensitive: bool,
    /// Whether exchange works; else it is `Unsupported`.
    pub exchange: bool,
    /// Whether leases work; else `writer_absent` is `Unsupported`.
    pub leases: bool,
    /// Whether birth times are recorded.
    pub birth: bool,
    /// Room for the content of files, in bytes.
    pub capacity_bytes: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            case_insensitive: false,
            exchange: true,
            leases: true,
            birth: true,
            capacity_bytes: u64::MAX,
        }
    }
}

/// A root in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryFs {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: ClockNs,
    hook: Mutex<Option<Hook>>,
    faults: Mutex<BTreeMap<u64, Fault>>,
}

impl MemoryFs {
    /// An empty root on a filesystem such as ext4.
    #[must_use]
    pub fn new(clock: ClockNs) -> Self {
        Self::with_options(clock, MemoryOptions::default())
    }

    /// An empty root.
    #[must_use]
    pub fn with_options(clock: ClockNs, options: MemoryOptions) -> Self {
        let state = Mutex::new(State::new(options, clock()));
        let (hook, faults) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { state, clock, hook, faults }) }
    }

    /// The same root as programs of the user see it.
    #[must_use]
    pub fn user(&self) -> MemoryUser {
        MemoryUser::new(self.clone())
    }

    /// Sets or removes the hook.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *lock(&self.shared.hook) = hook;
    }

    /// Operations begun so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Makes the operation with this number fail.
    pub fn fail_operation(&self, number: u64, fault: Fault) {
        lock(&self.shared.faults).insert(number, fault);
    }

    /// Changes the room for the content of files, in bytes.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.state().options.capacity_bytes = capacity_bytes;
    }

    /// Changes what is found at the root's path.
    pub fn set_root_state(&self, state: RootState) {
        self.state().root_state = state;
    }

    /// Cuts the power: what was not synced is kept, dropped or torn as the seed says; handles
    /// die; the boot id changes. Directory entries survive in an order that some real
    /// filesystem could have written.
    pub fn crash(&self, seed: u64) {
        self.state().crash(seed);
    }

    /// Begins an operation: counts it, lets the hook act, fails it if it is to fail.
    fn begin(&self, kind: OperationKind, path: &RelPath) -> Result<MutexGuard<'_, State>, FsError> {
        self.begin_with(kind, path, None)
    }

    fn begin_with(
        &self,
        kind: OperationKind,
        path: &RelPath,
        to: Option<&RelPath>,
    ) -> Result<MutexGuard<'_, State>, FsError> {
        let number = {
            let mut state = self.state();
            state.operations += 1;
            state.operations
        };
        let hook = lock(&self.shared.hook).clone();
        let operation = Operation { number, kind, path: path.clone(), to: to.cloned() };
        let by_hook = hook.and_then(|hook| hook(&self.user(), &operation));
        let by_number = lock(&self.shared.faults).remove(&number);
        match by_hook.or(by_number) {
            Some(fault) => Err(FsError::new(path, fault.errno())),
            None => Ok(self.state()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn now(&self) -> i64 {
        (self.shared.clock)()
    }
}

/// A panic in a test's own thread leaves the state as it was; there is nothing to repair.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFs").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
