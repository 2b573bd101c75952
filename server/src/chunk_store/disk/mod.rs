//! The file operations of the chunk store, so that a test can make each of them fail.
//!
//! Owns the traits [`Disk`] and [`SegmentFile`]. It must not know what segment files contain.

mod real;
mod simulated;

pub(super) use real::RealDisk;
pub use simulated::{CrashKeeps, SimulatedDisk};

use std::io;
use std::sync::Arc;

use std::io::IoSlice;

/// The directory of one chunk store. Every call may block.
pub trait Disk: Send + Sync {
    /// Takes the lock of the directory, which lasts as long as what is returned; `None` when
    /// another process, or another store of this one, holds it.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self) -> io::Result<Option<Box<dyn Send>>>;

    /// Numbers of the segment files that are there, ascending.
    ///
    /// # Errors
    /// What the system says.
    fn segments(&self) -> io::Result<Vec<u32>>;

    /// Makes an empty segment file, or opens one that is there and empty. Its name is durable
    /// only after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when the file is there and not empty.
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment file that is there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Takes the name of a segment file away; those who have it open read on. It may come back
    /// after a power cut until [`Disk::sync_directory`].
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is no such file.
    fn remove(&self, number: u32) -> io::Result<()>;

    /// Makes the names of created files durable, and that removed ones are gone.
    ///
    /// # Errors
    /// What the system says; then nothing is known about the names.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that are free for this process.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// The GC generation that was stored last; `None` when none was.
    ///
    /// # Errors
    /// What the system says; `InvalidData` when what is stored is no number.
    fn load_generation(&self) -> io::Result<Option<u64>>;

    /// Stores the GC generation, durably and whole or not at all.
    ///
    /// # Errors
    /// What the system says; then either of the two generations may be stored.
    fn store_generation(&self, generation: u64) -> io::Result<()>;
}

/// One open segment file. Every call may block.
pub trait SegmentFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Writes the slices one after the other from `offset` on; may stop short, and says after how
    /// many bytes.
    ///
    /// # Errors
    /// What the system says; then some of the bytes may have been written.
    fn write_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads from `offset` on; may stop short, and at the end of the file reads 0 bytes.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable, the length included.
    ///
    /// # Errors
    /// What the system says; then nothing is known about what was written since the last sync, and
    /// a later success says nothing about it either.
    fn sync(&self) -> io::Result<()>;

    /// Makes what is there durable, and lets later reads come from the disk as far as the system
    /// can: after a failed sync its memory may show what the disk does not hold.
    ///
    /// # Errors
    /// What the system says.
    fn settle(&self) -> io::Result<()>;

    /// Sets the length, in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Reads until the buffer is full or the file ends; says how many bytes were read.
pub(super) fn read_full(
    file: &dyn SegmentFile,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(offset + done as u64, &mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all slices from `offset` on, with as few calls as the system allows.
pub(super) fn write_full(
    file: &dyn SegmentFile,
    mut offset: u64,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    // Linux refuses more slices a call (IOV_MAX).
    const SLICES_MAX: usize = 1024;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = &slices[..slices.len().min(SLICES_MAX)];
        match file.write_at(offset, some) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a write failed for want of room, the one failure that leaves known what is on the disk.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
