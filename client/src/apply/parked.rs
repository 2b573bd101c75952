//! Entries that were moved aside while others take each other's places.
//!
//! Owns the parking place, `.driftless/parked`. A crash may come between the move and the note of it,
//! and a database may be lost: what no row knows of goes back to where its entry is.

use super::ApplyError;
use super::displaced::{home_of, put_back};
use crate::context::FolderContext;
use crate::fs::bundle::PARKED_SUFFIX;
use crate::fs::{Area, RelPath};
use crate::state::LocalRow;
use client_core::tree::PARKED;
use common::ids::EntryId;
use common::name::Name;

/// The name of an entry that was moved aside.
pub(super) fn parked_name(entry: &EntryId) -> Name {
    Name::new(entry.to_string())
        .unwrap_or_else(|error| unreachable!("32 hex digits are a name: {error}"))
}

/// Where an entry is while it is aside. A bundle's name there says that it is one.
pub(super) fn parked_path(row: &LocalRow) -> RelPath {
    let suffix = if row.stat.is_bundle() { PARKED_SUFFIX } else { "" };
    let name = Name::new(format!("{}{suffix}", row.entry))
        .unwrap_or_else(|error| unreachable!("hex digits and a suffix are a name: {error}"));
    RelPath::inside(Area::Parked, name)
}

fn entry_of(name: &Name) -> Option<EntryId> {
    let name = name.as_str();
    let digits = name.strip_suffix(PARKED_SUFFIX).unwrap_or(name);
    let number = u128::from_str_radix(digits, 16).ok()?;
    Some(EntryId::from_bytes(number.to_be_bytes()))
}

/// Brings back what is parked and not known to be. Only between two batches. A device that has lost
/// its database waits for the server's tree with that: it says what the entry is called.
///
/// # Errors
/// [`ApplyError`].
pub fn review_parked(context: &FolderContext) -> Result<(), ApplyError> {
    if context.state.cursor()?.is_none() {
        return Ok(());
    }
    let listing = match context.fs.list(&RelPath::area_root(Area::Parked)) {
        Ok(listing) => listing,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for listed in listing.entries {
        let Ok(name) = Name::from_bytes(&listed.name) else { continue };
        let Some(entry) = entry_of(&name) else { continue };
        let row = context.state.local_row(&entry)?;
        if row.is_some_and(|row| row.position.parent == PARKED) {
            continue;
        }
        let parked = RelPath::inside(Area::Parked, name);
        let home = home_of(context, &entry)?;
        tracing::warn!(%home, "what was moved aside before a crash goes back");
        // What cannot go back now must not keep the rest of the folder: it is tried again.
        if let Err(error) = put_back(context, &parked, &home) {
            tracing::warn!(%error, "it stays aside for now");
        }
    }
    Ok(())
}
