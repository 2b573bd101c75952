//! Sealed objects: chunks, manifest pages, names, attributes, names of labels, preferences.
//!
//! Every object is stored as *clear header ‖ IV ‖ ciphertext ‖ tag*:
//!
//! | bytes | what | in AD |
//! |---|---|---|
//! | 4 | magic `drft` | yes |
//! | 1 | format version, 1 | yes |
//! | 1 | [`ObjectType`] | yes |
//! | 4 | sealing epoch, little-endian | yes |
//! | of a page only: 32, 1, 2, 32 each | folder, level, count (little-endian), child ids | yes |
//! | 32 | IV = keyed BLAKE3(`K_iv`, len(AD) ‖ AD ‖ plaintext) | through the key |
//! | n, 16 | AES-256-GCM under keyed BLAKE3(`K_enc`, IV), with a zero nonce | |
//!
//! AD = magic ‖ version ‖ type ‖ FolderId ‖ epoch ‖ what the type binds: of a page its level, count
//! and child ids, of a name or attributes the EntryId, of a label its id and moment, of preferences the
//! retention beside them, of a chunk nothing. The FolderId stays clear
//! in pages alone, whose clear part a server checks; elsewhere whoever opens knows it, as it knows
//! the EntryId. A key seals one plaintext only, because the IV commits to it: hence the zero nonce.
//!
//! The plaintext is *codec (1) ‖ decoded length (4) ‖ body length (4) ‖ body ‖ zero padding*.
//!
//! Owns these formats, cut points and page boundaries; golden tests pin them all. It must not know
//! where objects are kept or how they travel. Nothing here panics on bytes from outside, and none
//! of them makes it use more memory than a few times [`crate::limits::SEALED_BYTES_MAX`].

mod body;
mod cdc;
mod entry;
mod envelope;
mod error;
mod labels;
mod manifest;
mod page;
mod piece;
#[cfg(test)]
mod tests;

pub use cdc::Chunker;
pub use entry::{Attributes, open_attributes, open_name, seal_attributes, seal_name};
pub use error::{OpenError, PageError};
pub use labels::{
    MergePolicy, Preferences, open_label_name, open_preferences, seal_label_name, seal_preferences,
};
pub use manifest::{Built, ChunkRef, build_manifest};
pub use page::{Child, ClearPage, Page, open_page, read_clear_page};
pub use piece::{open_chunk, seal_chunk};

/// What a sealed object is; each type has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectType {
    /// A content-defined piece of a file.
    Chunk,
    /// A page of a manifest.
    Page,
    /// The name of an entry.
    Name,
    /// The attributes of an entry.
    Attributes,
    /// The name of a label.
    Label,
    /// The preferences of a folder.
    Preferences,
}

impl ObjectType {
    /// The number that stands for this type in a header. 5 is kept for deltas.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Chunk => 1,
            Self::Page => 2,
            Self::Name => 3,
            Self::Attributes => 4,
            Self::Label => 6,
            Self::Preferences => 7,
        }
    }
}
