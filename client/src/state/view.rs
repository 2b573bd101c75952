//! The three trees as the planner reads them.
//!
//! The planner's look-ups cannot fail, SQLite's can: the first failure is kept, the look-up answers
//! "nothing", and the plan made from such a view must be thrown away. [`TreeView::finish`] says so.

use super::{FolderState, StateError};
use client_core::tree::{LocalNode, Position, RemoteNode, SyncedNode, View};
use common::ids::EntryId;
use std::cell::RefCell;

/// A view of one folder's state.
pub struct TreeView<'a> {
    state: &'a FolderState,
    failure: RefCell<Option<StateError>>,
}

impl FolderState {
    /// The trees for one plan.
    #[must_use]
    pub fn view(&self) -> TreeView<'_> {
        TreeView { state: self, failure: RefCell::new(None) }
    }
}

impl TreeView<'_> {
    /// Whether every look-up was answered truly.
    ///
    /// # Errors
    /// The first failure; a plan made from this view is then void.
    pub fn finish(self) -> Result<(), StateError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn keep<T: Default>(&self, result: Result<T, StateError>) -> T {
        result.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl View for TreeView<'_> {
    fn local(&self, entry: &EntryId) -> Option<LocalNode> {
        self.keep(self.state.local_row(entry)).map(|row| row.node())
    }

    fn remote(&self, entry: &EntryId) -> Option<RemoteNode> {
        self.keep(self.state.remote_row(entry))
            .filter(|row| row.broken.is_none())
            .map(|row| row.node)
    }

    fn synced(&self, entry: &EntryId) -> Option<SyncedNode> {
        self.keep(self.state.synced_node(entry))
    }

    fn local_at(&self, position: &Position) -> Option<EntryId> {
        self.keep(self.state.local_entry_at(position))
    }

    fn remote_at(&self, position: &Position) -> Option<EntryId> {
        self.keep(self.state.remote_entry_at(position))
    }

    fn local_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.keep(self.state.local_rows_in(parent)).into_iter().map(|row| row.entry).collect()
    }

    fn remote_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.keep(self.state.remote_rows_in(parent))
            .into_iter()
            .filter(|row| row.broken.is_none())
            .map(|row| row.node.entry)
            .collect()
    }

    fn synced_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.keep(self.state.synced_nodes_in(parent)).into_iter().map(|node| node.entry).collect()
    }

    fn held_count(&self) -> u64 {
        self.keep(self.state.held_count())
    }
}
