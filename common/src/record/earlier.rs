//! What an entry was at a moment, told to one who knows what it is later.
//!
//! Owns which parts of it may be left out, and the encoding (version 1). It must not know who asks,
//! nor what a sealed name or attribute says.

use super::encoding::{
    RecordError, RegistersMessage, content, content_message, kind, place, place_message,
};
use super::{Content, Kind, Place};
use crate::ids::EntryId;
use crate::revision::Revision;

/// An entry as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Which entry.
    pub entry: EntryId,
    /// What it was; `None` when it was not there.
    pub was: Option<Was>,
}

/// Registers of an entry that was there. One that is left out has not been set since: it is what
/// the reader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Was {
    /// What it is.
    pub kind: Kind,
    /// Its place and the revision that set it.
    pub place: Option<(Revision, Place)>,
    /// Its content and the revision that set it.
    pub content: Option<(Revision, Content)>,
}

/// An [`Earlier`] on the wire: the message of registers, of which any may be left out. Its kind is 0 for
/// an entry that was not there.
pub type EarlierMessage = RegistersMessage;

impl From<&Earlier> for EarlierMessage {
    fn from(earlier: &Earlier) -> Self {
        let entry = earlier.entry.to_vec();
        let Some(was) = &earlier.was else { return Self { entry, ..Self::default() } };
        Self {
            entry,
            kind: was.kind.code(),
            place_revision: was.place.as_ref().map_or(0, |(revision, _)| *revision),
            place: was.place.as_ref().map(|(_, it)| place_message(it)),
            content_revision: was.content.as_ref().map_or(0, |(revision, _)| *revision),
            content: was.content.as_ref().map(|(_, it)| content_message(it)),
        }
    }
}

impl TryFrom<EarlierMessage> for Earlier {
    type Error = RecordError;

    fn try_from(message: EarlierMessage) -> Result<Self, RecordError> {
        let EarlierMessage { entry, kind: code, place_revision, content_revision, .. } = message;
        let entry = EntryId::from_slice(&entry)?;
        if code == 0 {
            return Ok(Self { entry, was: None });
        }
        let place =
            message.place.map(|it| Ok::<_, RecordError>((place_revision, place(Some(it))?)));
        let content =
            message.content.map(|it| Ok::<_, RecordError>((content_revision, content(Some(it))?)));
        let (place, content) = (place.transpose()?, content.transpose()?);
        Ok(Self { entry, was: Some(Was { kind: kind(code)?, place, content }) })
    }
}
