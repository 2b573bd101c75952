//! From planned changes to records: contents are looked up, names and attributes sealed.
//!
//! Owns the last look at the local tree before something is sent: a change whose local node is not
//! what the planner saw is left out, and planned anew.

use crate::context::FolderContext;
use crate::state::{Effect, IGNORED, LocalRow, StateError};
use crate::transfer::Proofs;
use client_core::planner::{Change as Planned, PushGroup};
use client_core::tree::ContentState;
use common::chunk::{Attributes, seal_attributes};
use common::ids::EntryId;
use common::record::{Change, Content, Kind, Root};

/// A planned group that can be sent.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Its changes as records.
    pub changes: Vec<Change>,
    /// What its acceptance means.
    pub effects: Vec<Effect>,
    /// Roots that need proof.
    pub roots: Vec<Root>,
    /// Local entries whose content it carries: to be durable before it is sent.
    pub contents: Vec<EntryId>,
}

/// What became of the planned groups.
#[derive(Debug, Default)]
pub struct Preparation {
    /// Those that can be sent.
    pub ready: Vec<Prepared>,
    /// Files that have to be uploaded first.
    pub upload: Vec<LocalRow>,
    /// Local nodes that are not what the planner saw.
    pub stale: Vec<EntryId>,
    /// Directories that cannot be deleted at the server: they hold something there that this device
    /// cannot read.
    pub blocked: Vec<EntryId>,
}

enum Lack {
    Upload(Box<LocalRow>),
    Stale(EntryId),
    Blocked(EntryId),
}

enum Failure {
    Lack(Lack),
    State(StateError),
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Prepares planned groups.
///
/// # Errors
/// [`StateError`].
pub fn prepare(
    context: &FolderContext,
    proofs: &Proofs,
    groups: &[PushGroup],
) -> Result<Preparation, StateError> {
    let mut preparation = Preparation::default();
    for group in groups {
        let mut prepared = Prepared::default();
        let (mut lack, mut hidden) = (None, Vec::new());
        for change in &group.changes {
            let preparing =
                Preparing { context, proofs, prepared: &mut prepared, hidden: &mut hidden };
            match preparing.change(change) {
                Ok(()) => {}
                Err(Failure::State(error)) => return Err(error),
                Err(Failure::Lack(found)) => {
                    lack = Some(found);
                    break;
                }
            }
        }
        match lack {
            None => preparation.ready.extend(hidden.into_iter().chain([prepared])),
            Some(Lack::Upload(row)) => preparation.upload.push(*row),
            Some(Lack::Stale(entry)) => preparation.stale.push(entry),
            Some(Lack::Blocked(entry)) => preparation.blocked.push(entry),
        }
    }
    Ok(preparation)
}

struct Preparing<'a> {
    context: &'a FolderContext,
    proofs: &'a Proofs,
    prepared: &'a mut Prepared,
    /// Groups that have to go before it.
    hidden: &'a mut Vec<Prepared>,
}

impl Preparing<'_> {
    fn change(mut self, change: &Planned) -> Result<(), Failure> {
        match change {
            Planned::Create { entry, at, content } => {
                let (kind, sealed) = self.content(entry, entry, content)?;
                self.push(
                    Change::Create {
                        entry: *entry,
                        kind,
                        place: self.context.place(entry, at),
                        content: sealed,
                    },
                    Effect::Placed { entry: *entry, kind, at: at.clone(), content: *content },
                );
            }
            Planned::ConflictCopy { local, copy, at, content, entry, base, theirs, conflict } => {
                let row = self.local(local)?;
                let (kind, sealed) = self.content(local, copy, content)?;
                self.push(
                    Change::Create {
                        entry: *copy,
                        kind,
                        place: self.context.place(copy, at),
                        content: sealed,
                    },
                    Effect::Copied {
                        local: *local,
                        copy: *copy,
                        kind,
                        from: row.position,
                        content: *content,
                        entry: *entry,
                    },
                );
                self.prepared.changes.push(Change::OpenConflict {
                    conflict: *conflict,
                    entry: *entry,
                    base: *base,
                    theirs: *theirs,
                    copy: *copy,
                });
            }
            Planned::Edit { entry, content, base } => {
                let (_, sealed) = self.content(entry, entry, content)?;
                self.push(
                    Change::Edit { entry: *entry, base: *base, content: sealed },
                    Effect::Edited { entry: *entry, content: *content },
                );
            }
            Planned::Move { entry, to, base } => self.push(
                Change::Move { entry: *entry, base: *base, place: self.context.place(entry, to) },
                Effect::Moved { entry: *entry, to: to.clone() },
            ),
            Planned::Delete { entry, place_base, content_base } => {
                self.delete_hidden(entry, entry)?;
                self.push(
                    Change::Delete {
                        entry: *entry,
                        place_base: *place_base,
                        content_base: *content_base,
                    },
                    Effect::Deleted { entry: *entry },
                );
            }
            Planned::Revive { entry, at, base } => self.push(
                Change::Revive { entry: *entry, base: *base, place: self.context.place(entry, at) },
                Effect::Revived { entry: *entry, at: at.clone() },
            ),
        }
        Ok(())
    }

    /// Deletes, before a directory goes, what is ignored in it: it went with the directory here, and
    /// the server deletes none that holds something. What is ignored stays on the disks of others.
    fn delete_hidden(&mut self, directory: &EntryId, asked: &EntryId) -> Result<(), Failure> {
        for row in self.context.state.remote_rows_in(directory)? {
            let (node, broken) = (row.node, row.broken);
            match broken.as_deref() {
                None => {}
                Some(IGNORED) => {
                    self.delete_hidden(&node.entry, asked)?;
                    let mut group = Prepared::default();
                    group.changes.push(Change::Delete {
                        entry: node.entry,
                        place_base: node.place_revision,
                        content_base: node.content_revision,
                    });
                    group.effects.push(Effect::Deleted { entry: node.entry });
                    self.hidden.push(group);
                }
                Some(_) => return Err(Failure::Lack(Lack::Blocked(*asked))),
            }
        }
        Ok(())
    }

    fn push(&mut self, change: Change, effect: Effect) {
        self.prepared.changes.push(change);
        self.prepared.effects.push(effect);
    }

    fn local(&self, entry: &EntryId) -> Result<LocalRow, Failure> {
        let row = self.context.state.local_row(entry)?;
        row.ok_or(Failure::Lack(Lack::Stale(*entry)))
    }

    /// The content of the local node `local`, sealed for `entry`.
    fn content(
        &mut self,
        local: &EntryId,
        entry: &EntryId,
        planned: &ContentState,
    ) -> Result<(Kind, Content), Failure> {
        let row = self.local(local)?;
        if row.content() != Some(*planned) {
            return Err(Failure::Lack(Lack::Stale(*local)));
        }
        let root = self.root(&row)?;
        let size = if row.kind == Kind::File { row.stat.size } else { 0 };
        let attributes = Attributes {
            mode: planned.mode,
            mtime_ns: planned.mtime_ns,
            size,
            target: row.target.clone(),
            tag: planned.tag,
            restored: None,
        };
        let sealed = seal_attributes(&self.context.keys, &self.context.folder, entry, &attributes);
        self.prepared.contents.push(*local);
        Ok((row.kind, Content { root, tag: planned.tag, attributes: sealed }))
    }

    /// The top of the file's bytes: that of the server's live version when the bytes are the same, else
    /// the one that was uploaded and can be proven.
    fn root(&mut self, row: &LocalRow) -> Result<Option<Root>, Failure> {
        if row.kind != Kind::File || row.stat.size == 0 {
            return Ok(None);
        }
        // What was deleted may have been released since, and collected.
        let remote = self.context.state.remote_row(&row.entry)?.filter(|row| !row.node.deleted);
        if let Some(remote) = remote.filter(|remote| Some(remote.node.content.tag) == row.tag) {
            return Ok(remote.root);
        }
        match row.root {
            Some(root) if self.proofs.proves(&root) => {
                self.prepared.roots.push(root);
                Ok(Some(root))
            }
            _ => Err(Failure::Lack(Lack::Upload(Box::new(row.clone())))),
        }
    }
}
