//! Identifiers as newtypes over fixed-size byte arrays.
//!
//! Owns how an id is parsed, printed and compared. It must not know what an id points to.

use std::fmt;

/// A byte string that is not the length its identifier needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} is {expected} bytes, not {actual}")]
pub struct IdLengthError {
    /// Which identifier was being read.
    pub kind: &'static str,
    /// Bytes that this identifier has.
    pub expected: usize,
    /// Bytes that were given.
    pub actual: usize,
}

macro_rules! byte_id {
    ($(#[$meta:meta])* $name:ident, $len:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps exactly these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Reads an id from a slice that came from outside.
            ///
            /// # Errors
            /// [`IdLengthError`] when the slice has another length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdLengthError> {
                <[u8; $len]>::try_from(bytes).map(Self).map_err(|_| IdLengthError {
                    kind: stringify!($name),
                    expected: $len,
                    actual: bytes.len(),
                })
            }

            /// The bytes, as they are stored and sent.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The bytes as an owned vector, for wire messages.
            #[must_use]
            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                for byte in &self.0[..self.0.len().min(6)] {
                    write!(f, "{byte:02x}")?;
                }
                write!(f, ")")
            }
        }
    };
}

byte_id!(
    /// Address of a sealed object: BLAKE3-256 of its stored bytes.
    ChunkId, 32
);
byte_id!(
    /// A file, directory or symlink of a folder; random, and kept through renames.
    EntryId, 16
);
byte_id!(
    /// A synced root: hash of its signed genesis record.
    FolderId, 32
);
byte_id!(
    /// An owner of devices: hash of the genesis record of the user's device log.
    UserId, 32
);
byte_id!(
    /// A user's machine: its Ed25519 public key.
    DeviceId, 32
);
byte_id!(
    /// A machine of the cluster: its Ed25519 public key.
    NodeId, 32
);
byte_id!(
    /// A cluster: its Ed25519 public key, which signs node records and capabilities.
    ClusterId, 32
);
byte_id!(
    /// Keyed hash of (parent, name): keeps names unique without telling them.
    NameTag, 32
);
byte_id!(
    /// Keyed hash over a file's ordered plaintext chunks: equal tags are equal contents.
    ContentTag, 32
);
byte_id!(
    /// Keyed hash of one plaintext chunk, known to the folder's devices only.
    PlainHash, 32
);
byte_id!(
    /// A link of a hash chain: journal head, device-log head.
    Head, 32
);
byte_id!(
    /// An Ed25519 signature.
    Signature, 64
);
byte_id!(
    /// Names a conflict record; random.
    ConflictId, 16
);
byte_id!(
    /// Names a label of a folder; random.
    LabelId, 16
);
byte_id!(
    /// Where a server finds an invitation, derived from the one-time secret.
    LookupId, 16
);

impl EntryId {
    /// The folder's root directory. It always exists, has no parent and no name.
    pub const ROOT: Self = Self([0; 16]);
}

impl Head {
    /// The head before the first record of a chain.
    pub const ZERO: Self = Self([0; 32]);
}

impl ChunkId {
    /// The id of these stored bytes.
    #[must_use]
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }
}

/// Names one request of one device, so that it has one effect however often it is sent.
///
/// `incarnation` is drawn when a device's state database is made; `counter` starts at 1 and only
/// grows within an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Which life of the device's database.
    pub incarnation: u64,
    /// Which request of that life, from 1.
    pub counter: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.incarnation, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_length_is_refused() {
        assert_eq!(
            EntryId::from_slice(&[0; 15]),
            Err(IdLengthError { kind: "EntryId", expected: 16, actual: 15 })
        );
        assert_eq!(EntryId::from_slice(&[0; 16]), Ok(EntryId::ROOT));
    }

    #[test]
    fn an_id_prints_as_hex() {
        assert_eq!(EntryId::from_bytes([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
