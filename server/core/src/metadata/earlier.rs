//! What an entry was at a moment, for one who knows it as of a later one.
//!
//! Owns which of its registers have to be told. It must not know where they are stored.

use super::state::{ContentVersion, EntryState, PlaceVersion};
use super::store::{StoreError, Stored};
use common::ids::EntryId;
use common::record::{Earlier, Was};
use common::revision::Revision;

/// What an entry was as of `at`, a moment that is whole, to one who knows it as of `known`. `place`
/// and `content` look the newest version up that was set at or before `at`; they are asked for only what has
/// to be told.
///
/// # Errors
/// What they say; [`StoreError::Corrupt`] when an entry that was there had no content.
pub fn earlier(
    entry: EntryId,
    state: &EntryState,
    (at, known): (Revision, Revision),
    place: impl FnOnce() -> Stored<Option<PlaceVersion>>,
    content: impl FnOnce() -> Stored<Option<ContentVersion>>,
) -> Stored<Earlier> {
    // Who knows it as deleted, or what stands since `known` brought back, may have nothing of it.
    let may_be_unknown = state.deleted || state.place_revision > known;
    let mut was = Was { kind: state.kind, place: None, content: None };
    if may_be_unknown || state.place_revision > at {
        let Some(place) = place()?.filter(|place| !place.deleted) else {
            return Ok(Earlier { entry, was: None });
        };
        was.place = Some((place.revision, place.place));
    }
    if may_be_unknown || state.content_revision > at {
        let content = content()?.ok_or(StoreError::Corrupt { what: "content of a live entry" })?;
        was.content = Some((content.revision, content.content));
    }
    Ok(Earlier { entry, was: Some(was) })
}
