//! Sealed objects that no honest device makes: any bytes as a name, a page or a chunk.
//!
//! Owns a second writer of the sealed format, from its description in `common::chunk` alone. The
//! product seals only what it has checked, and must go on to; whoever has a folder's keys can seal
//! everything.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use common::chunk::ObjectType;
use common::ids::{ChunkId, EntryId, FolderId, NameTag};
use common::keys::FolderKeys;

/// Codec of a body that is stored as it is.
pub const RAW: u8 = 0;
/// Codec of a compressed body.
pub const ZSTD: u8 = 1;

/// The keys of a folder, as somebody uses them who keeps no rule.
#[derive(Clone, Copy)]
pub struct Forge<'a> {
    /// The folder's keys.
    pub keys: &'a FolderKeys,
    /// The folder.
    pub folder: FolderId,
}

impl Forge<'_> {
    /// Any bytes, sealed as the name of an entry.
    #[must_use]
    pub fn name(&self, entry: &EntryId, name: &[u8]) -> Vec<u8> {
        let plaintext = plaintext(RAW, name.len() as u32, name, 32);
        self.seal(ObjectType::Name, &[], entry.as_bytes(), &plaintext)
    }

    /// The name tag of any bytes.
    #[must_use]
    pub fn name_tag(&self, parent: &EntryId, name: &[u8]) -> NameTag {
        let key = blake3::derive_key("driftless 2026 name tag key v1", self.keys.constant());
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(parent.as_bytes());
        hasher.update(name);
        NameTag::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Any encoded attributes, sealed for an entry.
    #[must_use]
    pub fn attributes(&self, entry: &EntryId, message: &[u8]) -> Vec<u8> {
        let plaintext = plaintext(RAW, message.len() as u32, message, 32);
        self.seal(ObjectType::Attributes, &[], entry.as_bytes(), &plaintext)
    }

    /// A chunk whose body claims to decode to `decoded` bytes.
    #[must_use]
    pub fn chunk(&self, codec: u8, decoded: u32, body: &[u8]) -> Vec<u8> {
        self.seal(ObjectType::Chunk, &[], &[], &plaintext(codec, decoded, body, 1))
    }

    /// A page with any children and the lengths that it claims for them.
    #[must_use]
    pub fn page(&self, level: u8, children: &[(ChunkId, u64)]) -> Vec<u8> {
        let mut clear = self.folder.to_vec();
        clear.push(level);
        clear.extend_from_slice(&(children.len() as u16).to_le_bytes());
        let mut lengths = Vec::new();
        for (id, length) in children {
            clear.extend_from_slice(id.as_bytes());
            lengths.extend_from_slice(&length.to_le_bytes());
        }
        let plaintext = plaintext(RAW, lengths.len() as u32, &lengths, 1);
        self.seal(ObjectType::Page, &clear, &clear[FolderId::LEN..], &plaintext)
    }

    /// Header, clear bytes, IV, ciphertext, tag.
    fn seal(&self, object: ObjectType, clear: &[u8], bound: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let (epoch, secret) = self.keys.epochs().last().copied().unwrap();
        let (iv_context, enc_context) = contexts(object);
        let mut associated = b"drft\x01".to_vec();
        associated.push(object.code());
        associated.extend_from_slice(self.folder.as_bytes());
        associated.extend_from_slice(&epoch.to_le_bytes());
        associated.extend_from_slice(bound);
        let length = (associated.len() as u64).to_le_bytes();
        let hashed = [&length[..], &associated, plaintext].concat();
        let iv = blake3::keyed_hash(&blake3::derive_key(iv_context, &secret), &hashed);
        let key = blake3::keyed_hash(&blake3::derive_key(enc_context, &secret), iv.as_bytes());
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
        let mut sealed = plaintext.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, Aad::from(&associated), &mut sealed).unwrap();
        let mut stored = b"drft\x01".to_vec();
        stored.push(object.code());
        stored.extend_from_slice(&epoch.to_le_bytes());
        stored.extend_from_slice(clear);
        stored.extend_from_slice(iv.as_bytes());
        stored.extend_from_slice(&sealed);
        stored
    }
}

/// Codec, lengths, body, padding.
fn plaintext(codec: u8, decoded: u32, body: &[u8], padding: usize) -> Vec<u8> {
    let mut plaintext = vec![codec];
    plaintext.extend_from_slice(&decoded.to_le_bytes());
    plaintext.extend_from_slice(&(body.len() as u32).to_le_bytes());
    plaintext.extend_from_slice(body);
    let padded = body.len().next_multiple_of(padding);
    plaintext.resize(plaintext.len() + (padded - body.len()), 0);
    plaintext
}

fn contexts(object: ObjectType) -> (&'static str, &'static str) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use common::chunk::{open_name, seal_chunk, seal_name};
    use common::name::Name;

    #[test]
    fn what_is_forged_by_the_rules_is_what_an_honest_device_seals() {
        let keys = FolderKeys::new([1; 32], [2; 32]);
        let folder = FolderId::from_bytes([3; 32]);
        let forge = Forge { keys: &keys, folder };
        let entry = EntryId::from_bytes([4; 16]);
        let name = Name::new("name").unwrap();
        let forged = forge.name(&entry, b"name");
        assert_eq!(forged, seal_name(&keys, &folder, &entry, &name));
        assert_eq!(open_name(&keys, &folder, &entry, &forged).unwrap(), name);
        assert_eq!(forge.name_tag(&entry, b"name"), keys.name_tag(&entry, &name));
        // Short enough that compression does not pay.
        assert_eq!(forge.chunk(RAW, 3, b"abc"), seal_chunk(&keys, &folder, b"abc"));
    }
}
