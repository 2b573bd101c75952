//! A disk in memory that fails as disks do: for the tests of the store and of what stands on it.
//!
//! Owns the model of a power cut: what was not synced may be kept, dropped, or torn by sector; a
//! name without a directory sync may be gone; bytes whose sync failed are never written by a later
//! one. It must not know what segment files contain.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Disk, SegmentFile};

const SECTOR_BYTES: usize = 512;

/// What a power cut keeps of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKeeps {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Some sectors of some writes, drawn from this seed.
    Some(u64),
}

/// A simulated disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u32, File>,
    /// Files that were removed, until the directory is synced; those who have one open read on.
    removed: BTreeMap<u32, File>,
    generation: Option<u64>,
    locked: Arc<AtomicBool>,
    /// Operations that change the disk or make it durable, so far.
    operations: u64,
    crash_at: Option<u64>,
    capacity_bytes: Option<u64>,
    free_bytes_told: Option<u64>,
    write_bytes_max: Option<usize>,
    syncs_fail: bool,
    syncs_lie: bool,
    reads_fail: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What a read sees.
    current: Vec<u8>,
    /// What was synced.
    durable: Vec<u8>,
    /// What was done since, in order, and not given up by a failed sync.
    unsynced: Vec<Change>,
    name_durable: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl SimulatedDisk {
    /// An empty disk without a fault.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Operations so far that change the disk or make it durable.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock_state().operations
    }

    /// Cuts the power at this operation, counted from 0: it may half happen, and it and all later
    /// operations, reads too, fail.
    pub fn crash_at(&self, operation: u64) {
        self.lock_state().crash_at = Some(operation);
    }

    /// Limits the bytes of all files; a write that finds less room stops short, then fails with
    /// `ENOSPC`. `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock_state().capacity_bytes = bytes;
    }

    /// Lets the disk say that so many bytes are free, whatever is. `None` is the truth.
    pub fn set_free_bytes_told(&self, bytes: Option<u64>) {
        self.lock_state().free_bytes_told = bytes;
    }

    /// Lets every write stop short after so many bytes. `None` is no limit.
    pub fn set_write_bytes_max(&self, bytes: Option<usize>) {
        self.lock_state().write_bytes_max = bytes;
    }

    /// Makes every sync fail with `EIO`, and lose what it should have written, until set back.
    pub fn set_syncs_fail(&self, fail: bool) {
        self.lock_state().syncs_fail = fail;
    }

    /// Makes every sync succeed and do nothing until set back.
    pub fn set_syncs_lie(&self, lie: bool) {
        self.lock_state().syncs_lie = lie;
    }

    /// Takes all faults away. What was not synced is still only in memory, as after a kill.
    pub fn heal(&self) {
        let mut state = self.lock_state();
        let files = std::mem::take(&mut state.files);
        let removed = std::mem::take(&mut state.removed);
        let (generation, locked) = (state.generation, Arc::clone(&state.locked));
        *state = State { files, removed, generation, locked, ..State::default() };
    }

    /// Makes every read fail with `EIO` until set back.
    pub fn set_reads_fail(&self, fail: bool) {
        self.lock_state().reads_fail = fail;
    }

    /// Flips the lowest bit of a byte, durably. Says whether there is such a byte.
    pub fn flip(&self, segment: u32, offset: u64) -> bool {
        let mut state = self.lock_state();
        let Some(file) = state.files.get_mut(&segment) else { return false };
        let offset = offset as usize;
        for bytes in [&mut file.current, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
        }
        offset < file.current.len()
    }

    /// Length of a segment file as a read sees it, in bytes.
    #[must_use]
    pub fn length(&self, segment: u32) -> Option<u64> {
        self.lock_state().files.get(&segment).map(|file| file.current.len() as u64)
    }

    /// The disk as it is found after a power cut now, without faults.
    #[must_use]
    pub fn after_crash(&self, keeps: CrashKeeps) -> Self {
        let state = self.lock_state();
        let mut dice = Dice::new(keeps);
        let mut files = BTreeMap::new();
        let came_back = state.removed.iter().filter(|(_, file)| file.name_durable);
        let came_back: Vec<_> = came_back.filter(|_| !dice.keep()).collect();
        for (number, file) in state.files.iter().chain(came_back) {
            if !file.name_durable && !dice.keep() {
                continue;
            }
            let mut bytes = file.durable.clone();
            for change in &file.unsynced {
                dice.apply(change, &mut bytes);
            }
            let file = File {
                current: bytes.clone(),
                durable: bytes,
                unsynced: Vec::new(),
                name_durable: true,
            };
            files.insert(*number, file);
        }
        let after = State { files, generation: state.generation, ..State::default() };
        Self { state: Arc::new(Mutex::new(after)) }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides what a power cut keeps.
struct Dice {
    keeps: CrashKeeps,
    state: u64,
}

impl Dice {
    fn new(keeps: CrashKeeps) -> Self {
        let seed = if let CrashKeeps::Some(seed) = keeps { seed } else { 0 };
        Self { keeps, state: seed }
    }

    fn keep(&mut self) -> bool {
        match self.keeps {
            CrashKeeps::Nothing => false,
            CrashKeeps::All => true,
            CrashKeeps::Some(_) => self.draw().is_multiple_of(2),
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn apply(&mut self, change: &Change, bytes: &mut Vec<u8>) {
        match change {
            Change::Truncate { length } => {
                if self.keep() {
                    bytes.resize(*length, 0);
                }
            }
            Change::Write { offset, bytes: written } => {
                for (index, sector) in written.chunks(SECTOR_BYTES).enumerate() {
                    if self.keep() {
                        write_into(bytes, offset + index * SECTOR_BYTES, sector);
                    }
                }
            }
        }
    }
}

fn write_into(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl State {
    /// Counts an operation; says whether the power is cut during it.
    fn count(&mut self) -> bool {
        let operation = self.operations;
        self.operations += 1;
        self.crash_at.is_some_and(|at| operation >= at)
    }

    fn is_first_after_crash(&self) -> bool {
        self.crash_at == Some(self.operations.saturating_sub(1))
    }

    fn is_off(&self) -> bool {
        self.crash_at.is_some_and(|at| self.operations > at)
    }

    fn room(&self) -> u64 {
        let used: u64 = self.files.values().map(|file| file.current.len() as u64).sum();
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }
}

fn eio() -> io::Error {
    Errno::IO.into()
}

impl Disk for SimulatedDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send>>> {
        struct Held(Arc<AtomicBool>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        let locked = Arc::clone(&self.lock_state().locked);
        if locked.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(locked))))
    }

    fn segments(&self) -> io::Result<Vec<u32>> {
        Ok(self.lock_state().files.keys().copied().collect())
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.lock_state();
        if state.count() {
            return Err(eio());
        }
        let file = state.files.entry(number).or_default();
        if !file.current.is_empty() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number }))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let state = self.lock_state();
        if state.is_off() {
            return Err(eio());
        }
        if !state.files.contains_key(&number) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number }))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        let mut state = self.lock_state();
        if state.count() {
            return Err(eio());
        }
        let file = state.files.remove(&number).ok_or(io::ErrorKind::NotFound)?;
        state.removed.insert(number, file);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.lock_state();
        if state.count() || state.syncs_fail {
            return Err(eio());
        }
        let lie = state.syncs_lie;
        for file in state.files.values_mut() {
            file.name_durable |= !lie;
        }
        for file in state.removed.values_mut() {
            file.name_durable &= lie;
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock_state();
        Ok(state.free_bytes_told.unwrap_or_else(|| state.room()))
    }

    fn load_generation(&self) -> io::Result<Option<u64>> {
        Ok(self.lock_state().generation)
    }

    fn store_generation(&self, generation: u64) -> io::Result<()> {
        let mut state = self.lock_state();
        if state.count() || state.syncs_fail {
            return Err(eio());
        }
        state.generation = Some(generation);
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    number: u32,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, &mut File) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock_state();
        // Taken out for the call, so that the act sees the rest of the disk beside it.
        let Some(mut file) = state.files.remove(&self.number) else {
            // Removed: whoever has it open has it still.
            let Some(mut file) = state.removed.remove(&self.number) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let result = act(&mut state, &mut file);
            state.removed.insert(self.number, file);
            return result;
        };
        let room_bytes_used = file.current.len() as u64;
        let capacity = state.capacity_bytes;
        state.capacity_bytes = capacity.map(|capacity| capacity.saturating_sub(room_bytes_used));
        let result = act(&mut state, &mut file);
        state.capacity_bytes = capacity;
        state.files.insert(self.number, file);
        result
    }
}

impl SegmentFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|_, file| Ok(file.current.len() as u64))
    }

    fn write_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|state, file| {
            let off = state.count();
            if off && !state.is_first_after_crash() {
                return Err(eio());
            }
            let mut bytes: Vec<u8> =
                slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            bytes.truncate(state.write_bytes_max.unwrap_or(usize::MAX));
            let offset = offset as usize;
            let grows = (offset + bytes.len()).saturating_sub(file.current.len());
            let lacks = (grows as u64).saturating_sub(state.room()) as usize;
            bytes.truncate(bytes.len().saturating_sub(lacks));
            if bytes.is_empty() && lacks > 0 {
                return Err(Errno::NOSPC.into());
            }
            write_into(&mut file.current, offset, &bytes);
            let written = bytes.len();
            file.unsynced.push(Change::Write { offset, bytes });
            if off { Err(eio()) } else { Ok(written) }
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state, file| {
            if state.reads_fail || state.is_off() {
                return Err(eio());
            }
            let rest = file.current.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            if state.count() {
                return Err(eio());
            }
            if state.syncs_fail {
                file.unsynced.clear();
                return Err(eio());
            }
            if state.syncs_lie {
                return Ok(());
            }
            for change in std::mem::take(&mut file.unsynced) {
                match change {
                    Change::Truncate { length } => file.durable.resize(length, 0),
                    Change::Write { offset, bytes } => {
                        write_into(&mut file.durable, offset, &bytes);
                    }
                }
            }
            Ok(())
        })
    }

    fn settle(&self) -> io::Result<()> {
        self.sync()?;
        self.with(|_, file| {
            file.current.clone_from(&file.durable);
            Ok(())
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|state, file| {
            if state.count() {
                return Err(eio());
            }
            file.current.resize(length as usize, 0);
            file.unsynced.push(Change::Truncate { length: length as usize });
            Ok(())
        })
    }
}
