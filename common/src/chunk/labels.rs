//! Sealed names of labels, and sealed preferences of a folder.
//!
//! Owns what they say, their encoding (version 1), and what each is bound to: a name to its label
//! and the moment that it marks, preferences to the retention that stands in the clear beside them.
//! It must not know who set them, or when.

use super::body::{self, Body};
use super::envelope::{self, Binding};
use super::{ObjectType, OpenError};
use crate::ids::{FolderId, LabelId};
use crate::keys::FolderKeys;
use crate::limits::{
    LABEL_NAME_BYTES_MAX, NAME_PADDING_BYTES, SEALED_LABEL_NAME_BYTES_MAX,
    SEALED_PREFERENCES_BYTES_MAX,
};
use crate::name::LabelName;
use crate::record::Retention;
use crate::revision::Revision;
use prost::Message;

/// Most bytes of encoded preferences that are read.
const PREFERENCES_BYTES_MAX: usize = SEALED_PREFERENCES_BYTES_MAX - 128;

/// Whether a folder's devices merge two edits of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MergePolicy {
    /// Where nothing contradicts, without asking.
    #[default]
    Auto,
    /// It stays a conflict, and a person may have the merge made.
    Ask,
    /// It stays a conflict.
    Never,
}

/// What the devices of a folder agree on and no server has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preferences {
    /// Whether two edits of one text are merged.
    pub merge: MergePolicy,
}

#[derive(Clone, PartialEq, Message)]
struct PreferencesMessage {
    /// 0 when it was not said, which is as `auto`.
    #[prost(uint32, tag = "1")]
    merge: u32,
}

/// Seals the name of a label, padded to a multiple of [`NAME_PADDING_BYTES`]. The result has at most
/// [`SEALED_LABEL_NAME_BYTES_MAX`] bytes.
#[must_use]
pub fn seal_label_name(
    keys: &FolderKeys,
    folder: &FolderId,
    label: &LabelId,
    at: Revision,
    name: &LabelName,
) -> Vec<u8> {
    seal(keys, ObjectType::Label, folder, &label_bound(label, at), name.as_str().as_bytes())
}

/// Opens the name of a label.
///
/// # Errors
/// [`OpenError`] when it was not sealed for this label at this moment of this folder.
pub fn open_label_name(
    keys: &FolderKeys,
    folder: &FolderId,
    label: &LabelId,
    at: Revision,
    sealed: &[u8],
) -> Result<LabelName, OpenError> {
    let bound = label_bound(label, at);
    let limit = SEALED_LABEL_NAME_BYTES_MAX;
    let (hashed, from) = open(keys, ObjectType::Label, folder, &bound, sealed, limit)?;
    let text = Body::read(&hashed[from..], LABEL_NAME_BYTES_MAX)?.raw()?;
    let text = std::str::from_utf8(text);
    let text = text.map_err(|_| OpenError::Malformed("the label's name is not UTF-8"))?;
    LabelName::new(text).map_err(|_| OpenError::Malformed("the label's name is none"))
}

/// Seals preferences beside this retention.
#[must_use]
pub fn seal_preferences(
    keys: &FolderKeys,
    folder: &FolderId,
    retention: &Retention,
    preferences: &Preferences,
) -> Vec<u8> {
    let merge = match preferences.merge {
        MergePolicy::Auto => 1,
        MergePolicy::Ask => 2,
        MergePolicy::Never => 3,
    };
    let body = PreferencesMessage { merge }.encode_to_vec();
    seal(keys, ObjectType::Preferences, folder, &retention_bound(retention), &body)
}

/// Opens the preferences beside this retention.
///
/// # Errors
/// [`OpenError`] when they were not sealed for this folder beside this retention, or say what this
/// version does not know.
pub fn open_preferences(
    keys: &FolderKeys,
    folder: &FolderId,
    retention: &Retention,
    sealed: &[u8],
) -> Result<Preferences, OpenError> {
    let bound = retention_bound(retention);
    let limit = SEALED_PREFERENCES_BYTES_MAX;
    let (hashed, from) = open(keys, ObjectType::Preferences, folder, &bound, sealed, limit)?;
    let body = Body::read(&hashed[from..], PREFERENCES_BYTES_MAX)?.raw()?;
    let message = PreferencesMessage::decode(body)
        .map_err(|_| OpenError::Malformed("the preferences do not decode"))?;
    let merge = match message.merge {
        0 | 1 => MergePolicy::Auto,
        2 => MergePolicy::Ask,
        3 => MergePolicy::Never,
        _ => return Err(OpenError::Malformed("a merge policy that this version does not know")),
    };
    Ok(Preferences { merge })
}

fn label_bound(label: &LabelId, at: Revision) -> Vec<u8> {
    [label.as_bytes().as_slice(), &at.to_le_bytes()].concat()
}

fn retention_bound(retention: &Retention) -> Vec<u8> {
    let Retention { keep_all_ms, daily_ms, monthly_ms } = retention;
    [keep_all_ms, daily_ms, monthly_ms].iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn seal(
    keys: &FolderKeys,
    object: ObjectType,
    folder: &FolderId,
    bound: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let (epoch, pair) = keys.current_sealing(object);
    let binding = Binding { object, folder, epoch, bound };
    let mut hashed = Vec::new();
    let plaintext_at = binding.begin(&mut hashed);
    body::append_raw(&mut hashed, body, NAME_PADDING_BYTES);
    envelope::seal(pair, &binding, &[], &hashed, plaintext_at)
}

/// What was hashed, and where the plaintext begins in it.
fn open(
    keys: &FolderKeys,
    object: ObjectType,
    folder: &FolderId,
    bound: &[u8],
    stored: &[u8],
    limit: usize,
) -> Result<(Vec<u8>, usize), OpenError> {
    let (epoch, sealed) = envelope::read_header(object, stored, limit)?;
    let binding = Binding { object, folder, epoch, bound };
    let mut hashed = Vec::new();
    let plaintext_at = envelope::open(keys, &binding, sealed, &mut hashed)?;
    Ok((hashed, plaintext_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> FolderKeys {
        FolderKeys::new([1; 32], [2; 32])
    }

    const FOLDER: FolderId = FolderId::from_bytes([3; 32]);
    const LABEL: LabelId = LabelId::from_bytes([4; 16]);

    #[test]
    fn a_labels_name_is_bound_to_label_moment_and_folder() {
        let name = LabelName::new("before the move").unwrap();
        let sealed = seal_label_name(&keys(), &FOLDER, &LABEL, 7, &name);
        assert_eq!(open_label_name(&keys(), &FOLDER, &LABEL, 7, &sealed), Ok(name));
        let other = LabelId::from_bytes([5; 16]);
        let elsewhere = FolderId::from_bytes([6; 32]);
        let refused = Err(OpenError::Authentication);
        assert_eq!(open_label_name(&keys(), &FOLDER, &LABEL, 8, &sealed), refused);
        assert_eq!(open_label_name(&keys(), &FOLDER, &other, 7, &sealed), refused);
        assert_eq!(open_label_name(&keys(), &elsewhere, &LABEL, 7, &sealed), refused);
    }

    #[test]
    fn the_longest_name_of_a_label_has_room() {
        let name = LabelName::new(&"x".repeat(LABEL_NAME_BYTES_MAX)).unwrap();
        let sealed = seal_label_name(&keys(), &FOLDER, &LABEL, u64::MAX, &name);
        assert!(sealed.len() <= SEALED_LABEL_NAME_BYTES_MAX);
        assert_eq!(open_label_name(&keys(), &FOLDER, &LABEL, u64::MAX, &sealed), Ok(name));
    }

    #[test]
    fn preferences_are_bound_to_the_retention_beside_them() {
        let retention = Retention::default();
        for merge in [MergePolicy::Auto, MergePolicy::Ask, MergePolicy::Never] {
            let preferences = Preferences { merge };
            let sealed = seal_preferences(&keys(), &FOLDER, &retention, &preferences);
            assert!(sealed.len() <= SEALED_PREFERENCES_BYTES_MAX);
            let open =
                |retention: &Retention| open_preferences(&keys(), &FOLDER, retention, &sealed);
            assert_eq!(open(&retention), Ok(preferences));
            let shorter = Retention { keep_all_ms: 1, ..retention };
            assert_eq!(open(&shorter), Err(OpenError::Authentication));
        }
    }
}
