//! Reading, sealing and uploading files in one pass.
//!
//! Owns the pipeline: while one load is sealed the next is cut, and a few puts are under way. A
//! chunk whose sealed id is known is neither sealed nor sent again: the node is asked for a receipt
//! first. What a node has acknowledged is remembered once a load's bytes have come together, and however
//! the pass ends, so that a transfer that was cut goes on where it was. A node without room for more
//! leaves the files unread that it has no room for, and is no reason for anything else to wait.

use super::cutter::{Cutter, End, LOAD_BYTES, Load, Piece};
use super::proofs::{Proofs, RootParts};
use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{FsError, RelPath, Stat};
use crate::remote::RemoteError;
use crate::state::{IssueSource, StateError};
use bytes::Bytes;
use common::chunk::{ChunkRef, build_manifest, seal_chunk};
use common::ids::{ChunkId, ContentTag, EntryId, PlainHash};
use common::limits::HAVE_IDS_MAX;
use common::record::Root;
use common::trust::TrustError;
use common::wire::meta::RefusalCode;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Puts under way at a time; each holds about one load.
const PUTS_MAX: usize = 3;
/// Jobs into which the sealing of a load is split.
const SEAL_JOBS: usize = 2;
/// From so many acknowledged bytes or chunks on they are remembered: a load of a large file at once,
/// and those of small files, which have less in them, a few together. A killed process sends the rest
/// again.
const REMEMBERED: (u64, usize) = (LOAD_BYTES as u64, 1024);

/// A transfer that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The server could not be asked or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A receipt does not decode.
    #[error("the server sent a bad receipt: {0}")]
    Receipt(#[from] TrustError),
    /// The program stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// What became of one file.
#[derive(Debug)]
pub struct Ingested {
    /// Which entry.
    pub entry: EntryId,
    /// What was read.
    pub reading: Reading,
}

/// What reading a file gave.
#[derive(Debug)]
pub enum Reading {
    /// It stood still.
    Read {
        /// Its content.
        tag: ContentTag,
        /// How it looked.
        stat: Stat,
        /// The wall clock when reading began, in ns since 1970.
        begun_ns: i64,
        /// Top of its sealed bytes; `None` for an empty file, and when nothing was uploaded.
        root: Option<Root>,
        /// Its chunks in order; empty when nothing was uploaded.
        chunks: Vec<(ChunkId, u32)>,
    },
    /// It changed while it was read.
    Unsteady,
    /// It could not be read.
    Failed(FsError),
}

type Named = (PlainHash, ChunkId, u32);
type PutResult = (Vec<Named>, Result<Vec<Vec<u8>>, RemoteError>);

/// One pass over some files.
pub struct Ingest<'a> {
    context: &'a FolderContext,
    proofs: &'a mut Proofs,
    puts: FuturesUnordered<BoxFuture<'static, PutResult>>,
    chunks: BTreeMap<EntryId, Vec<ChunkRef>>,
    roots: Vec<(Root, RootParts)>,
    is_recovering: bool,
    /// What the node has acknowledged since the chunk index was written.
    acknowledged: Vec<Named>,
    /// Why the node takes no more bytes.
    no_room: Option<RemoteError>,
}

impl<'a> Ingest<'a> {
    /// A pass that leaves its proofs here. `is_recovering`: this device has lost its index, so the
    /// node is asked before anything is sent.
    #[must_use]
    pub fn new(context: &'a FolderContext, proofs: &'a mut Proofs, is_recovering: bool) -> Self {
        Self {
            context,
            proofs,
            puts: FuturesUnordered::new(),
            chunks: BTreeMap::new(),
            roots: Vec::new(),
            is_recovering,
            acknowledged: Vec::new(),
            no_room: None,
        }
    }

    /// Reads, seals and uploads; `progress` gets the plaintext bytes of each load. Files that the
    /// node has no room for are not among the result: they are listed as issues.
    ///
    /// # Errors
    /// [`IngestError`]; what was acknowledged until then is remembered.
    pub async fn upload(
        mut self,
        files: Vec<(EntryId, RelPath)>,
        progress: impl FnMut(u64),
    ) -> Result<Vec<Ingested>, IngestError> {
        let entries: Vec<EntryId> = files.iter().map(|(entry, _)| *entry).collect();
        let sent = self.send_files(files, progress).await;
        self.remember()?;
        let mut done = sent?;
        for (root, parts) in std::mem::take(&mut self.roots) {
            self.proofs.add_root(&root, parts);
        }
        self.note_room(&entries, &mut done)?;
        Ok(done)
    }

    async fn send_files(
        &mut self,
        files: Vec<(EntryId, RelPath)>,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<Ingested>, IngestError> {
        let mut done = Vec::with_capacity(files.len());
        let mut cutting = Some(self.cut(Cutter::new(self.context, files)).await?);
        while let Some((load, cutter)) = cutting.take() {
            let Some(load) = load else { break };
            if self.no_room.is_some() {
                break;
            }
            let bytes: usize = load.pieces.iter().map(|piece| piece.bytes.len()).sum();
            let Load { pieces, ended } = load;
            let environment = Arc::clone(&self.context.environment);
            let (sealed, next) = futures_util::future::join(
                self.send(pieces),
                cut_with(environment.as_ref(), cutter),
            )
            .await;
            sealed?;
            cutting = Some(next?);
            for (entry, end) in ended {
                let reading = self.finish(entry, end).await?;
                done.push(Ingested { entry, reading });
            }
            progress(bytes as u64);
        }
        while let Some(result) = self.puts.next().await {
            self.acknowledged(result)?;
        }
        Ok(done)
    }

    /// Lists what the node had no room for and leaves it out; what was listed and is through is no
    /// issue any more.
    fn note_room(
        &mut self,
        entries: &[EntryId],
        done: &mut Vec<Ingested>,
    ) -> Result<(), IngestError> {
        let state = &self.context.state;
        let Some(error) = self.no_room.take() else {
            if !state.issues(1)?.is_empty() {
                for entry in entries {
                    if let Some(path) = self.path_of(entry)? {
                        state.clear_issue(&path.to_string(), IssueSource::Apply)?;
                    }
                }
            }
            return Ok(());
        };
        done.retain(|ingested| match &ingested.reading {
            Reading::Read { root: Some(root), .. } => self.proofs.proves(root),
            _ => true,
        });
        let through: BTreeSet<EntryId> = done.iter().map(|ingested| ingested.entry).collect();
        let reason = format!("waits to be uploaded: {error}");
        state.atomically(|state| {
            for entry in entries.iter().filter(|entry| !through.contains(*entry)) {
                if let Some(path) = self.path_of(entry)? {
                    state.put_issue(&path.to_string(), IssueSource::Apply, &reason)?;
                }
            }
            Ok(())
        })
    }

    fn path_of(&self, entry: &EntryId) -> Result<Option<RelPath>, IngestError> {
        let names = self.context.state.local_path(entry)?;
        Ok(names.and_then(|names| RelPath::new(names).ok()))
    }

    /// Reads without uploading: what the planner needs to know while there is no server.
    ///
    /// # Errors
    /// [`IngestError::Stopping`].
    pub async fn digest(
        context: &FolderContext,
        files: Vec<(EntryId, RelPath)>,
    ) -> Result<Vec<Ingested>, IngestError> {
        let mut done = Vec::with_capacity(files.len());
        let mut cutter = Cutter::new(context, files);
        loop {
            let (load, rest) = cut_with(context.environment.as_ref(), cutter).await?;
            let Some(load) = load else { return Ok(done) };
            cutter = rest;
            for (entry, end) in load.ended {
                let reading = match end {
                    End::Read { tag, stat, begun_ns } => {
                        Reading::Read { tag, stat, begun_ns, root: None, chunks: Vec::new() }
                    }
                    End::Unsteady => Reading::Unsteady,
                    End::Failed(error) => Reading::Failed(error),
                };
                done.push(Ingested { entry, reading });
            }
        }
    }

    async fn cut(&self, cutter: Cutter) -> Result<(Option<Load>, Cutter), Stopping> {
        cut_with(self.context.environment.as_ref(), cutter).await
    }

    /// Seals and sends what no receipt covers yet, and remembers each file's chunks in order.
    async fn send(&mut self, pieces: Vec<Piece>) -> Result<(), IngestError> {
        let (mut unsealed, mut asked) = (Vec::new(), Vec::new());
        let mut ids: Vec<Option<ChunkId>> = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            let known = self.context.state.sealed_id(&piece.plain)?;
            match known {
                Some((id, _)) if self.proofs.covers(&id) => ids.push(Some(id)),
                Some((id, true)) => {
                    ids.push(Some(id));
                    asked.push(id);
                }
                _ => {
                    ids.push(None);
                    unsealed.push(index);
                }
            }
        }
        self.ask(&asked).await?;
        for (index, id) in ids.iter_mut().enumerate() {
            if id.is_some_and(|id| !self.proofs.covers(&id)) {
                *id = None;
                unsealed.push(index);
            }
        }
        let (lengths, mut jobs) = split(pieces, &unsealed);
        let mut sealed = Vec::with_capacity(unsealed.len());
        let mut running = Vec::new();
        for job in jobs.drain(..) {
            running.push(self.seal(job));
        }
        for part in futures_util::future::join_all(running).await {
            sealed.extend(part?);
        }
        if self.is_recovering {
            let ids: Vec<ChunkId> = sealed.iter().map(|(_, _, id, _)| *id).collect();
            self.ask(&ids).await?;
        }
        let mut put = Vec::with_capacity(sealed.len());
        for (index, plain, id, bytes) in sealed {
            if let Some(slot) = ids.get_mut(index) {
                *slot = Some(id);
            }
            if !self.proofs.covers(&id) {
                let length = lengths.get(index).map_or(0, |(_, length)| *length);
                put.push(((plain, id, length), bytes));
            }
        }
        for ((entry, plain_len), id) in lengths.into_iter().zip(ids) {
            let Some(id) = id else { continue };
            self.chunks.entry(entry).or_default().push(ChunkRef { id, plain_len });
        }
        self.put(put).await
    }

    fn seal(
        &self,
        pieces: Vec<(usize, Piece)>,
    ) -> impl Future<Output = Result<Vec<(usize, PlainHash, ChunkId, Bytes)>, Stopping>> + use<>
    {
        let keys = Arc::clone(&self.context.keys);
        let environment = Arc::clone(&self.context.environment);
        let folder = self.context.folder;
        async move {
            compute(environment.as_ref(), move || {
                let seal = |(index, piece): (usize, Piece)| {
                    let stored = seal_chunk(&keys, &folder, &piece.bytes);
                    (index, piece.plain, ChunkId::of(&stored), Bytes::from(stored))
                };
                pieces.into_iter().map(seal).collect()
            })
            .await
        }
    }

    async fn ask(&mut self, ids: &[ChunkId]) -> Result<(), IngestError> {
        for part in ids.chunks(HAVE_IDS_MAX) {
            let receipts = match self.context.remote.have(self.context.folder, part.to_vec()).await
            {
                // Even a proof that something is there may need room. It is put, and refused.
                Err(error) if is_want_of_room(&error) => Vec::new(),
                receipts => receipts?,
            };
            for receipt in receipts {
                self.proofs.add_receipts(receipt)?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, chunks: Vec<(Named, Bytes)>) -> Result<(), IngestError> {
        if chunks.is_empty() {
            return Ok(());
        }
        while self.puts.len() >= PUTS_MAX {
            let Some(result) = self.puts.next().await else { break };
            self.acknowledged(result)?;
        }
        let names = chunks.iter().map(|(name, _)| *name).collect();
        let bytes = chunks.into_iter().map(|((_, id, _), bytes)| (id, bytes)).collect();
        let (remote, folder) = (Arc::clone(&self.context.remote), self.context.folder);
        self.puts.push(Box::pin(async move { (names, remote.put(folder, bytes).await) }));
        Ok(())
    }

    fn acknowledged(&mut self, (names, result): PutResult) -> Result<(), IngestError> {
        let receipts = match result {
            Err(error) if is_want_of_room(&error) => {
                self.no_room.get_or_insert(error);
                return Ok(());
            }
            receipts => receipts?,
        };
        for receipt in receipts {
            self.proofs.add_receipts(receipt)?;
        }
        let proofs = &self.proofs;
        self.acknowledged.extend(names.into_iter().filter(|(_, id, _)| proofs.covers(id)));
        let bytes: u64 = self.acknowledged.iter().map(|(_, _, length)| u64::from(*length)).sum();
        if bytes >= REMEMBERED.0 || self.acknowledged.len() >= REMEMBERED.1 {
            self.remember()?;
        }
        Ok(())
    }

    /// Writes to the chunk index what the node has acknowledged.
    fn remember(&mut self) -> Result<(), IngestError> {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        if acknowledged.is_empty() {
            return Ok(());
        }
        self.context.state.atomically_unsynced(|state| {
            for (plain, id, length) in &acknowledged {
                state.put_sealed_id(plain, id, *length, true)?;
            }
            Ok::<_, IngestError>(())
        })
    }

    async fn finish(&mut self, entry: EntryId, end: End) -> Result<Reading, IngestError> {
        let chunks = self.chunks.remove(&entry).unwrap_or_default();
        let (tag, stat, begun_ns) = match end {
            End::Read { tag, stat, begun_ns } => (tag, stat, begun_ns),
            End::Unsteady => return Ok(Reading::Unsteady),
            End::Failed(error) => return Ok(Reading::Failed(error)),
        };
        let built = build_manifest(&self.context.keys, &self.context.folder, &chunks);
        let chunks: Vec<_> = chunks.iter().map(|chunk| (chunk.id, chunk.plain_len)).collect();
        if let Some(root) = built.root {
            let pages = built.pages.iter().filter(|(id, _)| !self.proofs.covers(id));
            // A page has no plaintext hash in the index: its own id stands in for it.
            let put = pages.map(|(id, page)| {
                let plain = PlainHash::from_bytes(*id.as_bytes());
                ((plain, *id, 0), Bytes::from(page.clone()))
            });
            self.put(put.collect()).await?;
            let parts = RootParts { chunks: chunks.clone(), pages: built.pages };
            self.roots.push((root, parts));
        }
        Ok(Reading::Read { tag, stat, begun_ns, root: built.root, chunks })
    }
}

/// Whether the node takes no more bytes, but everything else.
fn is_want_of_room(error: &RemoteError) -> bool {
    matches!(error.refusal_code(), Some(RefusalCode::DiskFull | RefusalCode::Quota))
}

async fn cut_with(
    environment: &dyn crate::context::Environment,
    mut cutter: Cutter,
) -> Result<(Option<Load>, Cutter), Stopping> {
    compute(environment, move || (cutter.next(), cutter)).await
}

type Split = (Vec<(EntryId, u32)>, Vec<Vec<(usize, Piece)>>);

/// Each piece's entry and length, and the pieces to seal in about equal jobs.
fn split(pieces: Vec<Piece>, unsealed: &[usize]) -> Split {
    let lengths = pieces
        .iter()
        .map(|piece| (piece.entry, u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX)))
        .collect();
    let wanted: std::collections::BTreeSet<usize> = unsealed.iter().copied().collect();
    let mut jobs: Vec<Vec<(usize, Piece)>> = (0..SEAL_JOBS).map(|_| Vec::new()).collect();
    let picked = pieces.into_iter().enumerate().filter(|(index, _)| wanted.contains(index));
    for (turn, piece) in picked.enumerate() {
        if let Some(job) = jobs.get_mut(turn % SEAL_JOBS) {
            job.push(piece);
        }
    }
    jobs.retain(|job| !job.is_empty());
    (lengths, jobs)
}
