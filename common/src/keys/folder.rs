//! A folder's keys: the constant key and the sealing keys by epoch, and all that is derived.
//!
//! Owns the derivation contexts of everything inside a folder: name tags, plaintext hashes,
//! content tags, the chunker's seed, and the two sealing keys of each object type and epoch. What
//! comes from the constant key outlives rotation, so that dedup and unique names do. It must not
//! know how keys travel (the keyring's work), nor how an object is laid out (`chunk`'s work).

use crate::archive::is_bundle;
use crate::chunk::ObjectType;
use crate::ids::{ContentTag, EntryId, NameTag, PlainHash};
use crate::name::Name;
use crate::record::Kind;
use std::fmt;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

const NAME_TAG_CONTEXT: &str = "driftless 2026 name tag key v1";
const PLAIN_HASH_CONTEXT: &str = "driftless 2026 plaintext hash key v1";
const CONTENT_TAG_CONTEXT: &str = "driftless 2026 content tag key v1";
const CHUNKER_SEED_CONTEXT: &str = "driftless 2026 chunker seed v1";

/// The contexts of an object type: that of `K_iv`, then that of `K_enc`.
const fn sealing_contexts(object: ObjectType) -> (&'static str, &'static str) {
    match object {
        ObjectType::Chunk => ("driftless 2026 chunk iv key v1", "driftless 2026 chunk enc key v1"),
        ObjectType::Page => ("driftless 2026 page iv key v1", "driftless 2026 page enc key v1"),
        ObjectType::Name => ("driftless 2026 name iv key v1", "driftless 2026 name enc key v1"),
        ObjectType::Attributes => {
            ("driftless 2026 attributes iv key v1", "driftless 2026 attributes enc key v1")
        }
        ObjectType::Label => ("driftless 2026 label iv key v1", "driftless 2026 label enc key v1"),
        ObjectType::Preferences => {
            ("driftless 2026 preferences iv key v1", "driftless 2026 preferences enc key v1")
        }
    }
}

/// Parts that make up no folder's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No sealing key at all.
    #[error("the folder has no sealing key")]
    NoEpoch,
    /// Sealing epochs do not run from 1 without gaps.
    #[error("the folder's sealing epochs have {found} where {expected} belongs")]
    EpochOrder {
        /// The epoch that belongs at this position.
        expected: u32,
        /// The epoch that was given.
        found: u32,
    },
}

/// All secrets of one folder and what is derived from them, derived once.
///
/// Cloning copies the secrets; every copy is wiped when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct FolderKeys {
    constant: [u8; 32],
    epochs: Vec<(u32, [u8; 32])>,
    name_tag: [u8; 32],
    plain_hash: [u8; 32],
    content_tag: [u8; 32],
    chunker_seed: u64,
    sealing: Vec<EpochKeys>,
}

/// The sealing keys of one epoch, one pair an object type.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct EpochKeys {
    chunk: SealingPair,
    page: SealingPair,
    name: SealingPair,
    attributes: SealingPair,
    label: SealingPair,
    preferences: SealingPair,
}

/// `K_iv` and `K_enc` of one epoch and object type.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SealingPair {
    /// Keys the hash that gives an object its IV.
    pub(crate) iv: [u8; 32],
    /// Keys the hash that turns an IV into the object's encryption key.
    pub(crate) enc: [u8; 32],
}

impl SealingPair {
    fn derive(object: ObjectType, epoch_key: &[u8; 32]) -> Self {
        let (iv, enc) = sealing_contexts(object);
        Self { iv: blake3::derive_key(iv, epoch_key), enc: blake3::derive_key(enc, epoch_key) }
    }
}

impl EpochKeys {
    fn derive(epoch_key: &[u8; 32]) -> Self {
        Self {
            chunk: SealingPair::derive(ObjectType::Chunk, epoch_key),
            page: SealingPair::derive(ObjectType::Page, epoch_key),
            name: SealingPair::derive(ObjectType::Name, epoch_key),
            attributes: SealingPair::derive(ObjectType::Attributes, epoch_key),
            label: SealingPair::derive(ObjectType::Label, epoch_key),
            preferences: SealingPair::derive(ObjectType::Preferences, epoch_key),
        }
    }
}

impl FolderKeys {
    /// The keys of a new folder, at sealing epoch 1. Both secrets are random.
    #[must_use]
    pub fn new(constant: [u8; 32], first_epoch_key: [u8; 32]) -> Self {
        Self::derive(constant, vec![(1, first_epoch_key)])
    }

    /// The keys of a folder as a keyring holds them; epochs run from 1 without gaps.
    ///
    /// # Errors
    /// [`KeysError`] when there is no epoch, or one is missing, repeated or out of order.
    pub fn from_parts(constant: [u8; 32], epochs: Vec<(u32, [u8; 32])>) -> Result<Self, KeysError> {
        if epochs.is_empty() {
            return Err(KeysError::NoEpoch);
        }
        for (expected, (found, _)) in (1..).zip(&epochs) {
            if *found != expected {
                return Err(KeysError::EpochOrder { expected, found: *found });
            }
        }
        Ok(Self::derive(constant, epochs))
    }

    fn derive(constant: [u8; 32], epochs: Vec<(u32, [u8; 32])>) -> Self {
        let seed = blake3::derive_key(CHUNKER_SEED_CONTEXT, &constant);
        let [a, b, c, d, e, f, g, h, ..] = seed;
        Self {
            constant,
            name_tag: blake3::derive_key(NAME_TAG_CONTEXT, &constant),
            plain_hash: blake3::derive_key(PLAIN_HASH_CONTEXT, &constant),
            content_tag: blake3::derive_key(CONTENT_TAG_CONTEXT, &constant),
            chunker_seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            sealing: epochs.iter().map(|(_, key)| EpochKeys::derive(key)).collect(),
            epochs,
        }
    }

    /// The secret that outlives rotation, for the keyring.
    #[must_use]
    pub fn constant(&self) -> &[u8; 32] {
        &self.constant
    }

    /// The sealing secrets by epoch, from 1 without gaps, for the keyring.
    #[must_use]
    pub fn epochs(&self) -> &[(u32, [u8; 32])] {
        &self.epochs
    }

    /// Starts the next sealing epoch with this random secret; earlier ones still open.
    pub fn add_epoch(&mut self, key: [u8; 32]) {
        // Anew rather than pushed: a vector that grows in place leaves secrets behind unwiped.
        let mut epochs = Vec::with_capacity(self.epochs.len() + 1);
        epochs.extend_from_slice(&self.epochs);
        epochs.push((self.current_epoch() + 1, key));
        *self = Self::derive(self.constant, epochs);
    }

    /// The sealing epoch that new objects are sealed under.
    #[must_use]
    pub fn current_epoch(&self) -> u32 {
        // Epochs run from 1 and there is always one, so that the last is never absent.
        self.epochs.last().map_or(1, |(epoch, _)| *epoch)
    }

    /// The sealing keys of an epoch and object type; `None` when this device has no such epoch.
    pub(crate) fn sealing(&self, epoch: u32, object: ObjectType) -> Option<&SealingPair> {
        let index = usize::try_from(epoch.checked_sub(1)?).ok()?;
        let keys = self.sealing.get(index)?;
        Some(match object {
            ObjectType::Chunk => &keys.chunk,
            ObjectType::Page => &keys.page,
            ObjectType::Name => &keys.name,
            ObjectType::Attributes => &keys.attributes,
            ObjectType::Label => &keys.label,
            ObjectType::Preferences => &keys.preferences,
        })
    }

    /// The current epoch and its keys for an object type.
    pub(crate) fn current_sealing(&self, object: ObjectType) -> (u32, &SealingPair) {
        let epoch = self.current_epoch();
        match self.sealing(epoch, object) {
            Some(pair) => (epoch, pair),
            None => unreachable!("every constructor derives the keys of every epoch"),
        }
    }

    /// The tag by which a server keeps the names of a directory unique: keyed hash of the parent
    /// and the exact bytes of the name.
    #[must_use]
    pub fn name_tag(&self, parent: &EntryId, name: &Name) -> NameTag {
        let mut hasher = blake3::Hasher::new_keyed(&self.name_tag);
        hasher.update(parent.as_bytes());
        hasher.update(name.as_str().as_bytes());
        NameTag::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The identity of one chunk's plaintext, which no rotation changes.
    #[must_use]
    pub fn plain_hash(&self, plaintext: &[u8]) -> PlainHash {
        PlainHash::from_bytes(*blake3::keyed_hash(&self.plain_hash, plaintext).as_bytes())
    }

    /// Begins the content tag of a file. An empty file has no chunks.
    #[must_use]
    pub fn content_tag(&self) -> ContentTagBuilder {
        ContentTagBuilder { hasher: self.tag_hasher(Kind::File) }
    }

    /// Begins the content tag of a bundle's archive: never equal to that of a file.
    #[must_use]
    pub fn bundle_tag(&self) -> ContentTagBuilder {
        let mut hasher = self.tag_hasher(Kind::File);
        // Records of chunks have 36 bytes each, so that no file's tag hashes as many.
        hasher.update(b"bundle");
        ContentTagBuilder { hasher }
    }

    /// Begins the content tag of a file with this mode, which says whether it is a bundle.
    #[must_use]
    pub fn content_tag_of(&self, mode: u16) -> ContentTagBuilder {
        if is_bundle(mode) { self.bundle_tag() } else { self.content_tag() }
    }

    /// The content tag of a symlink.
    #[must_use]
    pub fn symlink_tag(&self, target: &[u8]) -> ContentTag {
        let mut hasher = self.tag_hasher(Kind::Symlink);
        hasher.update(target);
        ContentTag::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The content tag of every directory of the folder.
    #[must_use]
    pub fn directory_tag(&self) -> ContentTag {
        ContentTag::from_bytes(*self.tag_hasher(Kind::Directory).finalize().as_bytes())
    }

    /// A content tag's hash, told apart by kind: a symlink is never equal to a file.
    fn tag_hasher(&self, kind: Kind) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.content_tag);
        hasher.update(&kind.code().to_le_bytes());
        hasher
    }

    /// The seed of [`crate::chunk::Chunker`], the same on all devices and in all epochs.
    #[must_use]
    pub fn chunker_seed(&self) -> u64 {
        self.chunker_seed
    }
}

impl PartialEq for FolderKeys {
    /// Compares the secrets, in a time that depends on the number of epochs only.
    fn eq(&self, other: &Self) -> bool {
        let epochs = if self.epochs.len() == other.epochs.len() {
            self.epochs
                .iter()
                .zip(&other.epochs)
                .fold(Choice::from(1), |equal, ((_, a), (_, b))| equal & a.ct_eq(b))
        } else {
            Choice::from(0)
        };
        (self.constant.ct_eq(&other.constant) & epochs).into()
    }
}

impl Eq for FolderKeys {}

impl fmt::Debug for FolderKeys {
    /// Says the epoch and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderKeys(epoch {})", self.current_epoch())
    }
}

/// A file's content tag in the making: chunks are added in file order.
///
/// Files that were cut by one chunker have equal tags exactly when their bytes are equal, however
/// and in whichever epoch their chunks were sealed.
pub struct ContentTagBuilder {
    hasher: blake3::Hasher,
}

impl ContentTagBuilder {
    /// Adds the next chunk: its plaintext's hash and length in bytes.
    pub fn chunk(&mut self, hash: &PlainHash, len: u32) {
        // Records of one length, so that no two lists of chunks feed the hash the same bytes.
        let mut record = [0; PlainHash::LEN + 4];
        record[..PlainHash::LEN].copy_from_slice(hash.as_bytes());
        record[PlainHash::LEN..].copy_from_slice(&len.to_le_bytes());
        self.hasher.update(&record);
    }

    /// The tag of the chunks added.
    #[must_use]
    pub fn finish(self) -> ContentTag {
        ContentTag::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for ContentTagBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentTagBuilder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn epochs_run_from_one_without_gaps() {
        let from = |epochs: &[u32]| {
            FolderKeys::from_parts([1; 32], epochs.iter().map(|e| (*e, [2; 32])).collect())
                .map(|keys| keys.current_epoch())
        };
        assert_eq!(from(&[1, 2, 3]), Ok(3));
        assert_eq!(from(&[]), Err(KeysError::NoEpoch));
        assert_eq!(from(&[0]), Err(KeysError::EpochOrder { expected: 1, found: 0 }));
        assert_eq!(from(&[u32::MAX]), Err(KeysError::EpochOrder { expected: 1, found: u32::MAX }));
        assert_eq!(from(&[1, 3]), Err(KeysError::EpochOrder { expected: 2, found: 3 }));
        assert_eq!(from(&[1, 1]), Err(KeysError::EpochOrder { expected: 2, found: 1 }));
    }

    #[test]
    fn keys_from_their_parts_are_the_keys() {
        let mut keys = FolderKeys::new([1; 32], [2; 32]);
        let first = keys.clone();
        keys.add_epoch([3; 32]);
        assert_eq!(keys.epochs(), [(1, [2; 32]), (2, [3; 32])]);
        let again = FolderKeys::from_parts(*keys.constant(), keys.epochs().to_vec()).unwrap();
        assert_eq!(again, keys);
        assert_ne!(first, keys);
        assert_ne!(FolderKeys::new([9; 32], [2; 32]), first);
        assert_ne!(FolderKeys::new([1; 32], [9; 32]), first);
    }

    #[test]
    fn what_the_constant_gives_outlives_rotation() {
        let old = FolderKeys::new([1; 32], [2; 32]);
        let mut new = old.clone();
        new.add_epoch([3; 32]);
        assert_eq!(old.chunker_seed(), new.chunker_seed());
        assert_eq!(old.plain_hash(b"x"), new.plain_hash(b"x"));
        assert_eq!(old.directory_tag(), new.directory_tag());
        let of = |keys: &FolderKeys| keys.name_tag(&EntryId::ROOT, &name("a"));
        assert_eq!(of(&old), of(&new));
        assert_ne!(of(&old), of(&FolderKeys::new([9; 32], [2; 32])));
    }

    #[test]
    fn a_name_tag_tells_parents_and_names_apart() {
        let keys = FolderKeys::new([1; 32], [2; 32]);
        let tag = |parent, text| keys.name_tag(&EntryId::from_bytes([parent; 16]), &name(text));
        assert_eq!(tag(1, "a"), tag(1, "a"));
        assert_ne!(tag(1, "a"), tag(2, "a"));
        assert_ne!(tag(1, "a"), tag(1, "A"));
    }

    #[test]
    fn content_tags_tell_kinds_order_and_lengths_apart() {
        let keys = FolderKeys::new([1; 32], [2; 32]);
        let file = |chunks: &[(&[u8], u32)]| {
            let mut tag = keys.content_tag();
            chunks.iter().for_each(|(text, len)| tag.chunk(&keys.plain_hash(text), *len));
            tag.finish()
        };
        let tags = [
            file(&[]),
            file(&[(b"a", 1)]),
            file(&[(b"a", 2)]),
            file(&[(b"a", 1), (b"b", 1)]),
            file(&[(b"b", 1), (b"a", 1)]),
            keys.symlink_tag(b""),
            keys.symlink_tag(b"a"),
            keys.directory_tag(),
        ];
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
        assert_eq!(file(&[(b"a", 1)]), tags[1]);
    }

    #[test]
    fn every_type_and_epoch_has_keys_of_its_own() {
        let mut keys = FolderKeys::new([1; 32], [2; 32]);
        keys.add_epoch([3; 32]);
        let objects = [
            ObjectType::Chunk,
            ObjectType::Page,
            ObjectType::Name,
            ObjectType::Attributes,
            ObjectType::Label,
            ObjectType::Preferences,
        ];
        let mut seen = BTreeSet::new();
        for epoch in 1..=2 {
            for object in objects {
                let pair = keys.sealing(epoch, object).unwrap();
                assert!(seen.insert(pair.iv) && seen.insert(pair.enc));
            }
        }
        for epoch in [0, 3, u32::MAX] {
            assert!(keys.sealing(epoch, ObjectType::Chunk).is_none());
        }
    }

    #[test]
    fn printing_keys_tells_no_secret() {
        assert_eq!(format!("{:?}", FolderKeys::new([1; 32], [2; 32])), "FolderKeys(epoch 1)");
    }
}
