//! Looking into bundles: which path lies in one, and what a version of one holds.
//!
//! Owns how a bundle's archive is staged, read and taken away again. It must not know how an archive
//! is laid out, nor what is told of it.

use super::lookup::{names_of, nearest_directories, relative};
use super::restore::Source;
use super::{AskError, Engine};
use crate::engine::handle::{Comparison, Which};
use crate::engine::merging::Stored;
use crate::fs::bundle::Archive;
use crate::fs::{FsError, RelPath};
use crate::state::RemoteRow;
use client_core::past::compare_inside;
use common::archive::{Index, is_bundle};
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;

/// A path that lies in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Inside {
    /// The bundle's path.
    pub(in crate::engine) bundle: String,
    /// The path from the bundle on.
    pub(super) inside: String,
}

impl AskError {
    /// Whether nothing of the history is at a path, or not at that version: it may lie in a bundle.
    pub(in crate::engine) fn is_unknown_path(&self) -> bool {
        matches!(
            self,
            Self::NoSuchPath(_)
                | Self::NoHistory(_)
                | Self::NotThere { .. }
                | Self::NoSuchRevision { .. }
        )
    }
}

impl Engine {
    /// The bundle that a path lies in or lay in; `None` if there is none.
    pub(in crate::engine) async fn bundle_above(
        &self,
        path: &str,
    ) -> Result<Option<Inside>, AskError> {
        let names = names_of(path)?;
        let joined = |from: usize, to: usize| {
            let names = names.get(from..to).unwrap_or_default();
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join("/")
        };
        let found = |count: usize| {
            Some(Inside { bundle: joined(0, count), inside: joined(count, names.len()) })
        };
        let above = names.split_last().map_or(&[][..], |(_, above)| above);
        let mut directories = vec![EntryId::ROOT];
        for (index, name) in above.iter().enumerate() {
            let mut named = Vec::new();
            for directory in &directories {
                named.extend(self.named(directory, name).await?);
            }
            for it in &named {
                let row = self.context.state.remote_row(&it.entry)?;
                if row.is_some_and(|row| is_bundle_row(&row)) {
                    return Ok(found(index + 1));
                }
            }
            directories = nearest_directories(named);
        }
        // One that the server does not know yet.
        Ok(self.names_to_bundle_on_disk(&names).and_then(found))
    }

    /// How many names of a path lead to the bundle on this disk that it lies in.
    pub(in crate::engine) fn names_to_bundle_on_disk(&self, names: &[Name]) -> Option<usize> {
        (1..names.len()).find(|count| {
            let at = RelPath::new(names.iter().take(*count).cloned().collect());
            at.is_ok_and(|at| self.context.fs.stat(&at).is_ok_and(|stat| stat.is_bundle()))
        })
    }

    /// That a path lies in a bundle, for what is done with whole bundles; else what is wrong with it.
    pub(in crate::engine) async fn in_bundle_or(
        &self,
        path: &str,
        error: AskError,
    ) -> Result<AskError, AskError> {
        if !error.is_unknown_path() {
            return Ok(error);
        }
        Ok(match self.bundle_above(path).await? {
            Some(Inside { bundle, .. }) => AskError::InBundle { path: path.to_owned(), bundle },
            None => error,
        })
    }

    /// What a path held then: what was there, or if nothing was, what is there now as it was then, or
    /// what lay in a bundle.
    pub(super) async fn source(&self, path: &str, which: Which) -> Result<Source, AskError> {
        let error = match self.source_of_entry(path, which).await {
            Err(error) if error.is_unknown_path() => error,
            found => return found,
        };
        let Some(Inside { bundle, inside }) = self.bundle_above(path).await? else {
            return Err(error);
        };
        match self.source_of_entry(&bundle, which).await? {
            Source::One { row, at } if is_bundle_row(&row) => {
                Ok(Source::Inside { row, at, bundle, inside })
            }
            _ => Err(error),
        }
    }

    /// What a version of an entry holds inside; of what is no bundle, nothing.
    pub(in crate::engine) async fn index_of(
        &mut self,
        entry: &EntryId,
        stored: &Stored,
    ) -> Result<Index, AskError> {
        if !is_bundle(stored.mode) {
            return Ok(Index::default());
        }
        let mut index = Index::default();
        for staged in self.stage(vec![stored.want(entry)]).await?.into_values() {
            let opened = self.archive(&staged);
            self.context.fs.remove(&staged)?;
            index = opened?.index().clone();
        }
        Ok(index)
    }

    /// What the bundle on this disk holds.
    pub(super) fn index_on_disk(&self, path: &str) -> Result<Index, AskError> {
        let at = relative(path)?;
        let none = |error: FsError| match error.is_stale_view() {
            true => AskError::NoSuchPath(path.to_owned()),
            false => error.into(),
        };
        if !self.context.fs.stat(&at).map_err(none)?.is_bundle() {
            return Err(AskError::NoBundle(path.to_owned()));
        }
        Ok(self.archive(&at)?.index().clone())
    }

    /// An archive, open. One that is none is a version that cannot be read.
    pub(super) fn archive(&self, path: &RelPath) -> Result<Archive, AskError> {
        Archive::open(self.context.fs.as_ref(), path).map_err(|error| match error {
            FsError::Unfit { reason, .. } => {
                AskError::Unreadable(format!("it is no bundle's archive: {reason}"))
            }
            other => other.into(),
        })
    }

    /// What each side of a conflict of bundles made of what both started from, or, when that is not
    /// known, how the second side differs from the first.
    pub(in crate::engine) async fn compare_bundles(
        &mut self,
        base: Option<(&EntryId, &Stored)>,
        sides: [&RemoteRow; 2],
        path: &str,
    ) -> Result<Comparison, AskError> {
        let [original, copy] = sides;
        let index = async |engine: &mut Self, row: &RemoteRow| {
            engine.index_of(&row.node.entry, &Stored::from(row)).await
        };
        let (original, copy) = (index(self, original).await?, index(self, copy).await?);
        Ok(match base.filter(|(_, stored)| is_bundle(stored.mode)) {
            Some((entry, stored)) => {
                let base = self.index_of(entry, stored).await?;
                Comparison::Bundles([&original, &copy].map(|it| compare_inside(path, &base, it)))
            }
            None => Comparison::NewBundles(compare_inside(path, &original, &copy)),
        })
    }
}

/// Whether what an entry holds, or held, is a bundle.
pub(in crate::engine) fn is_bundle_row(row: &RemoteRow) -> bool {
    row.node.kind == Kind::File && is_bundle(row.node.content.mode)
}
