//! Versions outside the folder: a file, a link, a whole directory as it was.
//!
//! Owns which versions are staged together, and that nothing of them is left in the folder's own
//! directory. How it stands outside is for [`super::outside`].

use super::outside::{
    Syncing, copy_out, link_out, make_directory, outside, set_mode, take_away, unpack,
};
use super::past::Past;
use super::restore::Source;
use super::{AskError, Engine};
use crate::engine::handle::{Destination, Instant, Which};
use crate::fs::RelPath;
use crate::state::RemoteRow;
use crate::transfer::{Fetch, FetchError, Want};
use client_core::past::Listed;
use common::archive::{ItemKind, is_bundle};
use common::ids::EntryId;
use common::record::Kind;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Files of a directory that are fetched together.
const FILES_TOGETHER: usize = 256;
/// Bytes of them, one file at least: they are staged before they are copied out.
const BYTES_TOGETHER: u64 = 256 * 1024 * 1024;

impl Engine {
    /// Writes a version into a new file, a new symlink or a new directory outside the folder;
    /// returns its bytes. What is written is synced.
    pub(in crate::engine) async fn export(
        &mut self,
        path: &str,
        which: Which,
        destination: &Destination,
    ) -> Result<u64, AskError> {
        let Destination { path: to, bytes_only } = destination;
        match self.source(path, which).await? {
            Source::One { row, .. } if *bytes_only && is_bundle(row.node.content.mode) => {
                Err(AskError::IsBundle(path.to_owned()))
            }
            Source::One { row, .. } => self.export_one(&row, to).await,
            Source::Inside { row, at, bundle, inside } => {
                let inside = InBundle { path, bundle: &bundle, inside: &inside, at };
                self.export_inside(&row, &inside, destination).await
            }
            Source::Directory { .. } if *bytes_only => Err(AskError::IsDirectory(path.to_owned())),
            Source::Directory { past, entry, .. } => {
                make_directory(to)?;
                let exported = self.export_directory(&past, &entry, to).await;
                if exported.is_err() {
                    take_away(to);
                }
                exported
            }
        }
    }

    async fn export_one(&mut self, row: &RemoteRow, to: &Path) -> Result<u64, AskError> {
        if row.node.kind == Kind::Symlink {
            return link_out(row, to);
        }
        let mut bytes = 0;
        for staged in self.stage(vec![Want::from(row)]).await?.into_values() {
            bytes += self.copy_staged(row, &staged, to, Syncing::Each)?;
        }
        Ok(bytes)
    }

    /// Writes what lies in a bundle, as it was in that version.
    async fn export_inside(
        &mut self,
        row: &RemoteRow,
        inside: &InBundle<'_>,
        destination: &Destination,
    ) -> Result<u64, AskError> {
        let mut written = None;
        for staged in self.stage(vec![Want::from(row)]).await?.into_values() {
            let unpacked = self.unpack_inside(&staged, inside, destination);
            self.context.fs.remove(&staged)?;
            written = unpacked?;
        }
        written.ok_or_else(|| AskError::NotInBundle {
            path: inside.path.to_owned(),
            bundle: inside.bundle.to_owned(),
            revision: inside.at.revision,
        })
    }

    fn unpack_inside(
        &self,
        staged: &RelPath,
        inside: &InBundle<'_>,
        destination: &Destination,
    ) -> Result<Option<u64>, AskError> {
        let archive = self.archive(staged)?;
        let is_directory = archive
            .index()
            .items()
            .iter()
            .any(|it| it.kind == ItemKind::Directory && it.path == inside.inside);
        if destination.bytes_only && is_directory {
            return Err(AskError::IsDirectory(inside.path.to_owned()));
        }
        unpack(&archive, inside.inside, 0, &destination.path, Syncing::Each)
    }

    async fn export_directory(
        &mut self,
        past: &Past,
        entry: &EntryId,
        to: &Path,
    ) -> Result<u64, AskError> {
        // Open before its mode may keep its owner out.
        let directory = File::open(to).map_err(|error| outside(to, &error))?;
        let listed = past.tree.list(entry, "");
        let row = |it: &Listed| past.rows.get(&it.entry).map(Box::as_ref);
        let (mut bytes, mut together, mut wanted) = (0, 0, Vec::new());
        for it in &listed {
            let (Some(row), at) = (row(it), to.join(&it.path)) else { continue };
            match row.node.kind {
                Kind::Directory => make_directory(&at)?,
                Kind::Symlink => bytes += link_out(row, &at)?,
                Kind::File => {
                    together += row.size;
                    wanted.push((row.clone(), at));
                    if wanted.len() >= FILES_TOGETHER || together >= BYTES_TOGETHER {
                        bytes += self.export_files(std::mem::take(&mut wanted)).await?;
                        together = 0;
                    }
                }
            }
        }
        bytes += self.export_files(wanted).await?;
        // Those within first: a directory that may not be written to keeps what is in it.
        let directories = listed.iter().rev().filter(|it| it.item.kind == Kind::Directory);
        for it in directories {
            set_mode(&to.join(&it.path), it.item.content.mode)?;
        }
        if let Some(item) = past.tree.get(entry) {
            set_mode(to, item.content.mode)?;
        }
        rustix::fs::syncfs(&directory).map_err(|error| outside(to, &error.into()))?;
        Ok(bytes)
    }

    async fn export_files(&mut self, wanted: Vec<(RemoteRow, PathBuf)>) -> Result<u64, AskError> {
        let mut staged =
            self.stage(wanted.iter().map(|(row, _)| Want::from(row)).collect()).await?;
        let mut written = Ok(0);
        for (row, to) in &wanted {
            let Some(staged) = staged.remove(&row.node.entry) else { continue };
            written = match written {
                Ok(bytes) => {
                    let copied = self.copy_staged(row, &staged, to, Syncing::Together);
                    copied.map(|copied| bytes + copied)
                }
                // Of those that come after one that failed nothing is left here either.
                Err(error) => {
                    self.context.fs.remove(&staged)?;
                    Err(error)
                }
            };
        }
        written
    }

    /// Builds files in staging, by entry. Of a batch that fails nothing is left there.
    pub(super) async fn stage(
        &mut self,
        wants: Vec<Want>,
    ) -> Result<BTreeMap<EntryId, RelPath>, AskError> {
        let mut staged = BTreeMap::new();
        let (mut wants, mut failed) = (wants, None);
        // Without local files that have changed meanwhile, a second try has all that it needs.
        for is_last in [false, true] {
            let all: BTreeMap<EntryId, Want> =
                wants.iter().map(|want| (want.entry, want.clone())).collect();
            wants.clear();
            let progress = &mut self.progress;
            let count = |bytes| progress.bytes_down += bytes;
            let wanted = all.values().cloned().collect();
            let batch = Fetch::once(&self.context).build(wanted, count).await;
            failed = failed.or(batch.cut);
            for (entry, built) in batch.done {
                match (built, all.get(&entry)) {
                    (Ok(built), _) => drop(staged.insert(entry, built.path)),
                    (Err(FetchError::StaleSources), Some(want)) if !is_last => {
                        wants.push(want.clone());
                    }
                    (Err(error), _) => failed = failed.or(Some(error)),
                }
            }
            if wants.is_empty() || failed.is_some() {
                break;
            }
        }
        let Some(error) = failed else { return Ok(staged) };
        for path in staged.into_values() {
            self.context.fs.remove(&path)?;
        }
        Err(AskError::Refused(error.to_string()))
    }

    /// Copies a staged file out, or unpacks a staged bundle, and takes it away; returns the bytes.
    fn copy_staged(
        &self,
        row: &RemoteRow,
        staged: &RelPath,
        to: &Path,
        syncing: Syncing,
    ) -> Result<u64, AskError> {
        let (mode, mtime_ns) = (row.node.content.mode, row.node.content.mtime_ns);
        let copied = if is_bundle(mode) {
            let archive = self.archive(staged);
            let unpacked = archive.and_then(|archive| unpack(&archive, "", mode, to, syncing));
            unpacked.map(Option::unwrap_or_default)
        } else {
            let from = self.context.fs.open(staged).map_err(AskError::from);
            let copied =
                from.and_then(|from| copy_out(from.as_ref(), to, (mode, mtime_ns), syncing));
            copied.map(|()| row.size)
        };
        self.context.fs.remove(staged)?;
        copied
    }
}

/// What of a bundle is wanted.
struct InBundle<'a> {
    /// As it was asked for.
    path: &'a str,
    bundle: &'a str,
    inside: &'a str,
    at: Instant,
}
