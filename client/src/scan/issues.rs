//! Issues of places that are not there any more.
//!
//! Owns the end of what no listing will end. It must not judge what is there.

use crate::context::FolderContext;
use crate::state::{IssueSource, StateError};
use client_core::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;

/// Forgets what was wrong in directories that are gone or elsewhere: a listing replaces the issues
/// of what it lists, and these will never be listed again. To be called after a whole scan.
///
/// # Errors
/// [`StateError`].
pub fn forget_issues_of_gone(context: &FolderContext) -> Result<(), StateError> {
    for path in context.state.issue_paths(IssueSource::Scan)? {
        if let Some((directory, _)) = path.rsplit_once('/')
            && !stands(context, directory)?
        {
            context.state.clear_issue(&path, IssueSource::Scan)?;
        }
    }
    Ok(())
}

/// Whether the scanner knows a directory at a path.
fn stands(context: &FolderContext, directory: &str) -> Result<bool, StateError> {
    let mut parent = EntryId::ROOT;
    for name in directory.split('/') {
        let Ok(name) = Name::new(name) else { return Ok(false) };
        match context.state.local_row_at(&Position { parent, name })? {
            Some(row) if row.kind == Kind::Directory => parent = row.entry,
            _ => return Ok(false),
        }
    }
    Ok(true)
}
