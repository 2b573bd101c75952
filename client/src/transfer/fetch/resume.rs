//! Downloads that were cut: what is kept of them, and how they go on.
//!
//! Owns that a kept download goes on in its own staged file, which takes its room once, and that no
//! staged file is kept that the state does not name. What a kept file holds is read back and must
//! have the hash that was written; what has not is fetched again. Also owns who gives way when the
//! disk has too little room: kept downloads do, to whatever is being built.

use super::build::Build;
use super::error::FetchError;
use super::pen::Pen;
use super::{Fetch, Want};
use crate::context::compute;
use crate::fs::{Area, FsError, RelPath};
use crate::state::{KeptChunk, StateError};
use common::ids::EntryId;
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Chunks that are read back in one job of the CPU pool.
const READ_BACK_CHUNKS: usize = 64;

/// A cut download that can go on.
pub(super) struct Kept {
    staged: Arc<Pen>,
    chunks: Vec<KeptChunk>,
    held_bytes: u64,
}

impl Kept {
    /// Room that it takes already, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }
}

impl Fetch<'_> {
    /// What was kept of an entry's download, of this version or another.
    pub(super) fn reopen(&self, want: &Want) -> Result<Option<Kept>, FetchError> {
        if !self.resumes {
            return Ok(None);
        }
        let Some(name) = self.context.state.partial(&want.entry)? else { return Ok(None) };
        // What is written into it from now on is no user's.
        self.context.state.forget_placing(&name)?;
        let staged = match self.context.fs.reopen(&name) {
            Ok(staged) => Arc::new(Pen::new(staged)),
            Err(error) if error.is_of_one_path() => {
                tracing::info!(%error, "a kept download cannot be gone on with");
                self.give_up(&want.entry, &name)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if staged.stat()?.size > want.size {
            staged.truncate(want.size)?;
        }
        let held_bytes = staged.held_bytes()?;
        let chunks = self.context.state.kept_chunks(&want.entry)?;
        Ok(Some(Kept { staged, chunks, held_bytes }))
    }

    /// Lets a build go on in a kept file, with the chunks that it wants at just these places.
    pub(super) async fn go_on(&self, build: &mut Build, kept: Kept) -> Result<(), FetchError> {
        let Kept { staged, chunks, .. } = kept;
        build.staged = Some(Arc::clone(&staged));
        build.is_kept = true;
        staged.preallocate(build.want.size)?;
        let count = chunks.len();
        let chunks: BTreeMap<u64, KeptChunk> =
            chunks.into_iter().map(|chunk| (chunk.start, chunk)).collect();
        let (mut offset, mut stand) = (0, Vec::new());
        for (index, (id, length)) in build.chunks.iter().enumerate() {
            let found = chunks.get(&offset);
            if let Some(chunk) = found.filter(|chunk| (chunk.id, chunk.length) == (*id, *length)) {
                stand.push((index, *chunk));
            }
            offset += u64::from(*length);
        }
        let stand = self.read_back(&staged, stand).await?;
        for (index, chunk) in &stand {
            build.stands(*index, chunk.hash);
        }
        if stand.len() < count {
            self.correct(build, &stand)?;
        }
        Ok(())
    }

    /// The chunks whose bytes are in the file.
    async fn read_back(
        &self,
        staged: &Arc<Pen>,
        chunks: Vec<(usize, KeptChunk)>,
    ) -> Result<Vec<(usize, KeptChunk)>, FetchError> {
        let mut stand = Vec::with_capacity(chunks.len());
        for part in chunks.chunks(READ_BACK_CHUNKS) {
            let (mut part, staged) = (part.to_vec(), Arc::clone(staged));
            let keys = Arc::clone(&self.context.keys);
            let read = compute(self.context.environment.as_ref(), move || {
                part.retain(|(_, chunk)| {
                    let mut bytes = vec![0; chunk.length as usize];
                    // What cannot be read is not there: it is fetched and written again.
                    let read = staged.read_at(chunk.start, &mut bytes);
                    read.is_ok_and(|count| count == bytes.len())
                        && keys.plain_hash(&bytes) == chunk.hash
                });
                part
            });
            stand.extend(read.await?);
        }
        Ok(stand)
    }

    /// Forgets the kept chunks that are not there, or not of this version.
    fn correct(&self, build: &Build, stand: &[(usize, KeptChunk)]) -> Result<(), FetchError> {
        let Some(name) = build.staged.as_ref().and_then(|staged| staged.path().name()) else {
            return Ok(());
        };
        let chunks: Vec<KeptChunk> = stand.iter().map(|(_, chunk)| *chunk).collect();
        self.context.state.atomically(|state| {
            state.forget_partial(&build.want.entry)?;
            state.keep_partial(&build.want.entry, name, &chunks)
        })?;
        Ok(())
    }

    /// Tells the state how far the builds have come.
    pub(super) fn keep(&self, builds: &mut [Build]) -> Result<(), FetchError> {
        Ok(self
            .context
            .state
            .atomically(|state| builds.iter_mut().try_for_each(|build| build.keep(state)))?)
    }

    /// After a cut: keeps what has arrived, and removes the staged files in which nothing has.
    pub(super) fn part_from(&self, builds: &mut [Build]) -> Result<(), FetchError> {
        self.keep(builds)?;
        let unfinished = builds.iter_mut().filter(|build| build.end.is_none());
        for build in unfinished.filter(|build| !build.is_kept) {
            build.discard(self.context)?;
        }
        Ok(())
    }

    /// Built files are where they belong, or are not to be believed: from now on they are no
    /// downloads. Until then a process that was killed goes on with them.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn hand_over(&self, built: &BTreeSet<EntryId>) -> Result<(), StateError> {
        self.under_way.borrow_mut().retain(|entry| !built.contains(entry));
        if !self.resumes {
            return Ok(());
        }
        let kept = self.context.state.partials()?;
        let done: Vec<_> = kept.iter().filter(|(entry, _)| built.contains(entry)).collect();
        if done.is_empty() {
            return Ok(());
        }
        self.context
            .state
            .atomically(|state| done.iter().try_for_each(|(entry, _)| state.forget_partial(entry)))
    }

    /// Forgets all downloads that were kept: their files are not to be believed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_kept(&self) -> Result<(), StateError> {
        let kept = self.context.state.partials()?;
        self.context
            .state
            .atomically(|state| kept.iter().try_for_each(|(entry, _)| state.forget_partial(entry)))
    }

    /// Checks that there is room for a file of this size, of which `held_bytes` are taken already.
    /// Kept downloads that are not being built give way.
    pub(super) fn require_room(&self, size: u64, held_bytes: u64) -> Result<(), FetchError> {
        let needed_bytes = size.saturating_sub(held_bytes);
        loop {
            let free = self.context.fs.free_space()?.free_bytes;
            let (room, lacking_bytes) = if needed_bytes > free {
                (Err(FetchError::NoRoom { needed: size, free }), needed_bytes - free)
            } else {
                (self.try_room(needed_bytes), needed_bytes)
            };
            match room {
                Err(error) if error.is_want_of_room() && self.give_way(lacking_bytes)? => {}
                room => return room,
            }
        }
    }

    /// Whether so many bytes fit, on a disk that had no room before.
    fn try_room(&self, bytes: u64) -> Result<(), FetchError> {
        if !self.full.get() || bytes == 0 {
            return Ok(());
        }
        let staged = self.context.fs.stage(&self.context.fresh_name())?;
        let fits = staged.preallocate(bytes);
        self.context.fs.remove(staged.path())?;
        Ok(fits?)
    }

    /// Removes a kept download that is not being built: the smallest that is enough, else the
    /// largest. `false` when all of them together would not be enough.
    pub(super) fn give_way(&self, lacking_bytes: u64) -> Result<bool, FetchError> {
        if !self.resumes {
            return Ok(false);
        }
        let mut kept = Vec::new();
        for (entry, name) in self.context.state.partials()? {
            if self.under_way.borrow().contains(&entry) {
                continue;
            }
            // Not its size: what was reserved for it would be free as well.
            match self.context.fs.reopen(&name).and_then(|staged| staged.held_bytes()) {
                Ok(held_bytes) => kept.push((held_bytes, entry, name)),
                Err(error) if error.is_of_one_path() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if kept.iter().map(|(bytes, ..)| bytes).sum::<u64>() < lacking_bytes {
            return Ok(false);
        }
        kept.sort();
        let enough = kept.iter().find(|(bytes, ..)| *bytes >= lacking_bytes);
        match enough.or(kept.last()) {
            Some((_, entry, name)) => self.give_up(entry, name).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes a kept download, the file first: on a full disk forgetting it may need its room.
    fn give_up(&self, entry: &EntryId, name: &Name) -> Result<(), FetchError> {
        match self.context.fs.remove(&RelPath::inside(Area::Staging, name.clone())) {
            Err(FsError::NotFound { .. }) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.context.state.forget_partial(entry)?)
    }
}
