//! The chunk store's directory on a real file system.
//!
//! Owns names and descriptors: `segments/NNNNNN.seg`, `lock`, `generation`. It must not know what
//! segments contain.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation};
use rustix::io::Errno;

use super::{Disk, SegmentFile};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory that holds one chunk store.
#[derive(Debug)]
pub(in super::super) struct RealDisk {
    directory: PathBuf,
    segments: PathBuf,
    segments_handle: File,
}

impl RealDisk {
    /// Opens the directory, and makes it, durably, if it is not there.
    pub(in super::super) fn open(directory: &Path) -> io::Result<Self> {
        let segments = directory.join("segments");
        std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&segments)?;
        let segments_handle = File::open(&segments)?;
        for made in [Some(directory), directory.parent()].into_iter().flatten() {
            // The parent of a bare relative name is the empty path.
            let made = if made.as_os_str().is_empty() { Path::new(".") } else { made };
            File::open(made)?.sync_all()?;
        }
        Ok(Self { directory: directory.to_owned(), segments, segments_handle })
    }

    fn segment_path(&self, number: u32) -> PathBuf {
        self.segments.join(format!("{number:06}.seg"))
    }
}

fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

impl Disk for RealDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send>>> {
        let file = read_write().create(true).truncate(false).open(self.directory.join("lock"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn segments(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.segments)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg")?.parse().ok());
            match number {
                Some(number) => numbers.push(number),
                None => tracing::warn!(?name, "not a segment file; left alone"),
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let file = read_write().create(true).truncate(false).open(self.segment_path(number))?;
        if file.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(RealFile(read_write().open(self.segment_path(number))?)))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        std::fs::remove_file(self.segment_path(number))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.segments_handle.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.segments_handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn load_generation(&self) -> io::Result<Option<u64>> {
        match std::fs::read_to_string(self.directory.join("generation")) {
            Ok(text) => match text.trim_end().parse() {
                Ok(generation) => Ok(Some(generation)),
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn store_generation(&self, generation: u64) -> io::Result<()> {
        let new = self.directory.join("generation.new");
        let mut file = read_write().create(true).truncate(true).open(&new)?;
        writeln!(file, "{generation}")?;
        file.sync_all()?;
        std::fs::rename(&new, self.directory.join("generation"))?;
        File::open(&self.directory)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl SegmentFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, slices, offset)?)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn settle(&self) -> io::Result<()> {
        self.0.sync_all()?;
        Ok(rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
