//! Join codes: one line that lets a device, a user or a node in.
//!
//! Owns the code's text form and what is derived from its one-time secret. Kind goes into every
//! derivation, so no code redeems as one of another kind. It must not know who may open one.

use crate::ids::{ClusterId, LookupId};
use crate::keys::{PrintedError, SigningKey, parse_printed, print_secret};
use prost::Message;
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

const PREFIX: &str = "driftless-";
const VERSION: u32 = 1;
const LOOKUP_CONTEXT: &str = "driftless 2026 join lookup v1";
const SIGNING_CONTEXT: &str = "driftless 2026 join signing key v1";
const WRAP_CONTEXT: &str = "driftless 2026 join wrap key v1";

/// Most addresses of a code, and longest of them: a code stays one line.
const ADDRESSES_MAX: usize = 8;
const ADDRESS_BYTES_MAX: usize = 255;
/// Longest text that is read: the longest code, with room for spaces and line breaks.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinKind {
    /// The first device of a user: it makes its own keys.
    Bootstrap,
    /// Another device of a user.
    Device,
    /// Another user's access to a folder; reserved. Never carries a user secret.
    Share,
    /// A node of the cluster.
    Node,
}

impl JoinKind {
    /// The number that stands for this kind.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Bootstrap => 1,
            Self::Device => 2,
            Self::Share => 3,
            Self::Node => 4,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Bootstrap),
            2 => Some(Self::Device),
            3 => Some(Self::Share),
            4 => Some(Self::Node),
            _ => None,
        }
    }
}

/// A line that is no join code of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// Not what was printed.
    #[error("this is no join code: {0}")]
    Printed(#[from] PrintedError),
    /// The checksum holds, but what it covers is no code.
    #[error("this is no join code: its content does not decode")]
    Malformed,
    /// Made by another version of Driftless.
    #[error("this join code has version {0}, which this build does not know")]
    Version(u32),
    /// For something that this version does not know.
    #[error("this join code is of kind {0}, which this build does not know")]
    Kind(u32),
    /// No address, or too many.
    #[error("a join code has 1 to {ADDRESSES_MAX} addresses, not {0}")]
    AddressCount(usize),
    /// Empty, too long, or with characters that no address has.
    #[error("address {0} of the join code is not valid")]
    Address(usize),
}

/// A join code: where to go, whom to expect there, and the one-time secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    /// What it is for.
    pub kind: JoinKind,
    /// `host:port` of the cluster, 1 to 8, to be tried in order.
    pub addresses: Vec<String>,
    /// The cluster's public key, which pins the server.
    pub cluster: ClusterId,
    /// 256 random bits, good for one use.
    pub secret: [u8; 32],
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct JoinCodeMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(bytes = "vec", tag = "3")]
    cluster: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    secret: Vec<u8>,
    #[prost(string, repeated, tag = "5")]
    addresses: Vec<String>,
}

impl JoinCode {
    /// Checks what a maker of codes put together; a code that was read is checked already.
    ///
    /// # Errors
    /// [`JoinCodeError`] when there are no addresses, too many, or one is not valid.
    pub fn check(&self) -> Result<(), JoinCodeError> {
        if self.addresses.is_empty() || self.addresses.len() > ADDRESSES_MAX {
            return Err(JoinCodeError::AddressCount(self.addresses.len()));
        }
        let valid = |address: &str| {
            (1..=ADDRESS_BYTES_MAX).contains(&address.len())
                && address.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match self.addresses.iter().position(|address| !valid(address)) {
            Some(at) => Err(JoinCodeError::Address(at + 1)),
            None => Ok(()),
        }
    }

    /// Where a server finds the invitation. Tells nothing of the other two.
    #[must_use]
    pub fn lookup(&self) -> LookupId {
        let bytes = self.derive(LOOKUP_CONTEXT);
        let mut short = [0; LookupId::LEN];
        short.copy_from_slice(&bytes[..LookupId::LEN]);
        LookupId::from_bytes(short)
    }

    /// The key that signs the redeeming record.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(*self.derive(SIGNING_CONTEXT))
    }

    /// The key under which the invitation's blob is sealed. The server never has it, except of
    /// codes that it made itself, which leave no blob.
    #[must_use]
    pub fn wrap_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(WRAP_CONTEXT)
    }

    fn derive(&self, context: &str) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.secret);
        hasher.update(&self.kind.code().to_le_bytes());
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut message = JoinCodeMessage {
            version: VERSION,
            kind: self.kind.code(),
            cluster: self.cluster.to_vec(),
            secret: self.secret.to_vec(),
            addresses: self.addresses.clone(),
        };
        let bytes = Zeroizing::new(message.encode_to_vec());
        message.secret.zeroize();
        f.write_str(&print_secret(PREFIX, &bytes))
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let bytes = parse_printed(PREFIX, text, TEXT_BYTES_MAX)?;
        let mut message =
            JoinCodeMessage::decode(bytes.as_slice()).map_err(|_| JoinCodeError::Malformed)?;
        let secret = message.secret.as_slice().try_into();
        message.secret.zeroize();
        if message.version != VERSION {
            return Err(JoinCodeError::Version(message.version));
        }
        let code = Self {
            kind: JoinKind::from_code(message.kind).ok_or(JoinCodeError::Kind(message.kind))?,
            addresses: message.addresses,
            cluster: ClusterId::from_slice(&message.cluster)
                .map_err(|_| JoinCodeError::Malformed)?,
            secret: secret.map_err(|_| JoinCodeError::Malformed)?,
        };
        code.check()?;
        Ok(code)
    }
}

impl Drop for JoinCode {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinCode")
            .field("kind", &self.kind)
            .field("addresses", &self.addresses)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(kind: JoinKind) -> JoinCode {
        JoinCode {
            kind,
            addresses: vec!["192.0.2.7:4747".into()],
            cluster: ClusterId::from_bytes([3; 32]),
            secret: [0xab; 32],
        }
    }

    #[test]
    fn a_code_is_one_line_and_reads_back() {
        for kind in [JoinKind::Bootstrap, JoinKind::Device, JoinKind::Share, JoinKind::Node] {
            let line = code(kind).to_string();
            assert!(line.starts_with("driftless-"));
            assert!(line.len() < 180, "{}", line.len());
            assert!(
                line.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            assert_eq!(line.parse(), Ok(code(kind)));
            assert_eq!(format!(" {line}\n").parse(), Ok(code(kind)));
        }
    }

    #[test]
    fn a_code_of_another_kind_derives_other_keys() {
        let (device, share) = (code(JoinKind::Device), code(JoinKind::Share));
        assert_ne!(device.lookup(), share.lookup());
        assert_ne!(device.signing_key().public(), share.signing_key().public());
        assert_ne!(device.wrap_key(), share.wrap_key());
        assert_ne!(&device.wrap_key()[..16], device.lookup().as_bytes());
    }

    #[test]
    fn a_code_with_a_wrong_address_is_refused() {
        for (addresses, error) in [
            (vec![], JoinCodeError::AddressCount(0)),
            (vec!["a:1".to_owned(); 9], JoinCodeError::AddressCount(9)),
            (vec!["a:1".into(), String::new()], JoinCodeError::Address(2)),
            (vec!["a b:1".into()], JoinCodeError::Address(1)),
            (vec!["a\n:1".into()], JoinCodeError::Address(1)),
            (vec!["x".repeat(256)], JoinCodeError::Address(1)),
        ] {
            let mut wrong = code(JoinKind::Device);
            wrong.addresses = addresses;
            assert_eq!(wrong.check(), Err(error.clone()));
            assert_eq!(wrong.to_string().parse::<JoinCode>(), Err(error));
        }
    }

    #[test]
    fn the_longest_code_reads_back() {
        let mut longest = code(JoinKind::Device);
        longest.addresses = vec!["x".repeat(ADDRESS_BYTES_MAX); ADDRESSES_MAX];
        assert_eq!(longest.to_string().parse(), Ok(longest));
    }

    #[test]
    fn a_code_of_another_version_or_unknown_kind_says_so() {
        let message = |version, kind| JoinCodeMessage {
            version,
            kind,
            cluster: vec![0; 32],
            secret: vec![0; 32],
            addresses: vec!["a:1".into()],
        };
        let read = |message: JoinCodeMessage| {
            print_secret(PREFIX, &message.encode_to_vec()).parse::<JoinCode>()
        };
        assert_eq!(read(message(2, 1)), Err(JoinCodeError::Version(2)));
        assert_eq!(read(message(1, 5)), Err(JoinCodeError::Kind(5)));
        assert_eq!(
            read(JoinCodeMessage { secret: vec![0; 31], ..message(1, 1) }),
            Err(JoinCodeError::Malformed)
        );
        assert_eq!(
            read(JoinCodeMessage { cluster: vec![], ..message(1, 1) }),
            Err(JoinCodeError::Malformed)
        );
    }

    #[test]
    fn a_mistyped_code_says_what_is_wrong() {
        let line = code(JoinKind::Device).to_string();
        let printed = |text: &str| match text.parse::<JoinCode>() {
            Err(JoinCodeError::Printed(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(printed(""), PrintedError::Empty);
        assert_eq!(printed("hello"), PrintedError::Prefix(PREFIX));
        assert_eq!(printed(&line[..line.len() - 5]), PrintedError::Truncated(5));
        assert!(matches!(printed("driftless-recovery-abc"), PrintedError::Character { .. }));
    }

    #[test]
    fn the_secret_stays_out_of_debug_output() {
        let printed = format!("{:?}", code(JoinKind::Device));
        assert!(!printed.contains("171") && !printed.contains("abab"), "{printed}");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}", tail in "[0-9a-hjkmnp-tv-z]{0,200}") {
            prop_assert!(text.parse::<JoinCode>().is_err());
            let code = format!("{PREFIX}{tail}").parse::<JoinCode>();
            prop_assert!(code.is_err());
        }

        #[test]
        fn garbage_under_a_right_checksum_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = print_secret(PREFIX, &bytes).parse::<JoinCode>();
        }
    }
}
