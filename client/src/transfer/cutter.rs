//! Reading files and cutting them into chunks, on the CPU pool.
//!
//! Owns S9: a version's bytes are what the file held at one moment. It looks at the open file and
//! at the path before and after; a file that changed meanwhile is reported unsteady. It must not
//! know the state database.

use crate::context::{Environment, FolderContext};
use crate::fs::{Fs, FsError, ReadFile, RelPath, Stat};
use common::chunk::Chunker;
use common::ids::{ContentTag, EntryId, PlainHash};
use common::keys::{ContentTagBuilder, FolderKeys};
use common::limits::{CHUNK_BYTES_MAX, FILE_BYTES_MAX};
use std::collections::VecDeque;
use std::sync::Arc;

/// Plaintext that one load holds, at least one chunk and at most about this.
pub(super) const LOAD_BYTES: usize = 4 * 1024 * 1024;
/// Files that one load ends, at most.
const LOAD_FILES: usize = 256;
/// Bytes that are read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// One chunk of plaintext.
pub(super) struct Piece {
    pub(super) entry: EntryId,
    pub(super) plain: PlainHash,
    pub(super) bytes: Vec<u8>,
}

/// How reading a file ended.
pub(super) enum End {
    /// It stood still: its content, how it looked, and the wall clock when reading it began.
    Read { tag: ContentTag, stat: Stat, begun_ns: i64 },
    /// It changed while it was read.
    Unsteady,
    /// It could not be read.
    Failed(FsError),
}

/// A run of pieces in order, and the files that end in it.
#[derive(Default)]
pub(super) struct Load {
    pub(super) pieces: Vec<Piece>,
    pub(super) ended: Vec<(EntryId, End)>,
}

/// The content tag of what is at a path, which nobody changes.
///
/// # Errors
/// Those of reading it.
pub fn content_tag(context: &FolderContext, path: &RelPath) -> Result<ContentTag, FsError> {
    let cutter = Cutter::new(context, Vec::new());
    let mut open = cutter.begin(EntryId::ROOT, path.clone())?;
    while cutter.piece(&mut open)?.is_some() {}
    Ok(open.tag.finish())
}

struct Open {
    entry: EntryId,
    path: RelPath,
    file: Box<dyn ReadFile>,
    begun_ns: i64,
    before: Stat,
    offset: u64,
    buffer: Vec<u8>,
    at: usize,
    is_end: bool,
    tag: ContentTagBuilder,
}

/// Cuts a list of files, load by load.
pub(super) struct Cutter {
    fs: Arc<dyn Fs>,
    keys: Arc<FolderKeys>,
    chunker: Chunker,
    environment: Arc<dyn Environment>,
    files: VecDeque<(EntryId, RelPath)>,
    open: Option<Open>,
}

impl Cutter {
    pub(super) fn new(context: &FolderContext, files: Vec<(EntryId, RelPath)>) -> Self {
        Self {
            fs: Arc::clone(&context.fs),
            keys: Arc::clone(&context.keys),
            chunker: context.chunker.clone(),
            environment: Arc::clone(&context.environment),
            files: files.into(),
            open: None,
        }
    }

    /// The next load; `None` when all files have ended.
    pub(super) fn next(&mut self) -> Option<Load> {
        let mut load = Load::default();
        let mut bytes = 0;
        while bytes < LOAD_BYTES && load.ended.len() < LOAD_FILES {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let Some((entry, path)) = self.files.pop_front() else { break };
                    match self.begin(entry, path) {
                        Ok(open) => open,
                        Err(error) => {
                            load.ended.push((entry, End::Failed(error)));
                            continue;
                        }
                    }
                }
            };
            match self.piece(&mut open) {
                Ok(Some(piece)) => {
                    bytes += piece.bytes.len();
                    load.pieces.push(piece);
                    self.open = Some(open);
                }
                Ok(None) => load.ended.push((open.entry, self.end(open))),
                Err(error) => load.ended.push((open.entry, End::Failed(error))),
            }
        }
        (!load.pieces.is_empty() || !load.ended.is_empty()).then_some(load)
    }

    fn begin(&self, entry: EntryId, path: RelPath) -> Result<Open, FsError> {
        let begun_ns = self.environment.now_ns();
        let file = self.fs.open(&path)?;
        let before = file.stat()?;
        Ok(Open {
            entry,
            begun_ns,
            before,
            path,
            file,
            offset: 0,
            buffer: Vec::new(),
            at: 0,
            is_end: false,
            tag: self.keys.content_tag_of(before.mode),
        })
    }

    fn piece(&self, open: &mut Open) -> Result<Option<Piece>, FsError> {
        fill(open)?;
        let rest = open.buffer.get(open.at..).unwrap_or_default();
        if rest.is_empty() || open.offset > FILE_BYTES_MAX {
            return Ok(None);
        }
        let length = self.chunker.cut(rest);
        let bytes = rest.get(..length).unwrap_or(rest).to_vec();
        open.at += bytes.len();
        let plain = self.keys.plain_hash(&bytes);
        open.tag.chunk(&plain, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Ok(Some(Piece { entry: open.entry, plain, bytes }))
    }

    fn end(&self, open: Open) -> End {
        let standing = open.file.stat().and_then(|held| {
            let is_there = self.fs.stat(&open.path)?.same_inode(&held);
            Ok((is_there || self.fs.holds(&open.path, &held)?).then_some(held))
        });
        let after = match standing {
            Ok(Some(held)) => held,
            Ok(None) => return End::Unsteady,
            Err(error) if error.is_stale_view() => return End::Unsteady,
            Err(error) => return End::Failed(error),
        };
        let steady = open.before.same_content(&after)
            && open.before.ctime_ns == after.ctime_ns
            && after.size == open.offset;
        if !steady {
            return End::Unsteady;
        }
        End::Read { tag: open.tag.finish(), stat: after, begun_ns: open.begun_ns }
    }
}

/// Keeps at least one largest chunk in the buffer, or the rest of the file.
fn fill(open: &mut Open) -> Result<(), FsError> {
    let held = open.buffer.len() - open.at;
    if open.is_end || held >= CHUNK_BYTES_MAX as usize {
        return Ok(());
    }
    open.buffer.drain(..open.at);
    open.at = 0;
    while !open.is_end && open.buffer.len() < CHUNK_BYTES_MAX as usize {
        let held = open.buffer.len();
        let left = open.before.size.saturating_sub(open.offset);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        // One byte more than is expected, so that the end is seen in the same read.
        let wanted = READ_BYTES.min(left.saturating_add(1));
        open.buffer.resize(held + wanted, 0);
        let read = match open.buffer.get_mut(held..) {
            Some(room) => open.file.read_at(open.offset, room)?,
            None => 0,
        };
        open.buffer.truncate(held + read);
        open.offset += read as u64;
        // One that has grown is unsteady whatever follows: the rest is not read.
        open.is_end = read < wanted || open.offset > open.before.size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::SystemEnvironment;
    use crate::fs::DiskFs;
    use common::ids::EntryId;
    use common::name::Name;
    use std::io::Write;

    const ENTRY: EntryId = EntryId::ROOT;

    /// Begins to read a file of `length` bytes, has it changed, and reads to the end.
    fn read_while(length: usize, change: impl FnOnce(&mut std::fs::File)) -> (usize, End) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![7; length]).unwrap();
        let keys = Arc::new(FolderKeys::new([1; 32], [2; 32]));
        let chunker = Chunker::new(keys.chunker_seed());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cutter = Cutter {
            fs: Arc::new(DiskFs::open(directory.path()).unwrap()),
            keys,
            chunker,
            environment: Arc::new(SystemEnvironment::new(runtime.handle().clone())),
            files: VecDeque::new(),
            open: None,
        };
        let name = RelPath::new(vec![Name::new("file").unwrap()]).unwrap();
        let mut open = cutter.begin(ENTRY, name).unwrap();
        let mut first = 0;
        if length > 0 {
            first = cutter.piece(&mut open).unwrap().unwrap().bytes.len();
        }
        change(&mut std::fs::File::options().append(true).open(&path).unwrap());
        let mut bytes = first;
        while let Some(piece) = cutter.piece(&mut open).unwrap() {
            bytes += piece.bytes.len();
        }
        (bytes, cutter.end(open))
    }

    #[test]
    fn a_file_that_stands_still_is_read_whole() {
        for length in [0, 1, 100_000, 3_000_000] {
            let (bytes, end) = read_while(length, |_| ());
            assert!(matches!(end, End::Read { .. }), "{length}");
            assert_eq!(bytes, length);
        }
    }

    /// Reading on, a byte at a time and a call deeper for each, once ended the whole program.
    #[test]
    fn a_file_that_grows_while_it_is_read_is_unsteady_and_not_read_on() {
        for length in [0, 1, 100_000, 3_000_000] {
            let grow = |file: &mut std::fs::File| file.write_all(&[8; 2_000_000]).unwrap();
            let (bytes, end) = read_while(length, grow);
            assert!(matches!(end, End::Unsteady), "{length}");
            assert!(bytes <= length + 1, "{bytes} of {length}");
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_unsteady() {
        for length in [1, 100_000, 3_000_000] {
            let (_, end) = read_while(length, |file| file.set_len(0).unwrap());
            assert!(matches!(end, End::Unsteady), "{length}");
        }
    }
}
