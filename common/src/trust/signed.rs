//! The envelope of every signed document: a format byte, the number of signatures, the signatures,
//! the body. Bodies are signed, hashed, sent and stored as they are, never re-encoded.
//!
//! Owns the envelope and the labels that keep one kind of document from passing as another. It must
//! not know what a body says.

use super::error::{TrustError, at_most};
use crate::ids::Signature;
use crate::keys::{SigningKey, verify_signature};

const FORMAT: u8 = 1;
const SIGNATURES_MAX: usize = 2;

/// What kind of document a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    DeviceLog,
    Keyring,
    FolderGenesis,
    Checkpoint,
    Receipts,
    Capability,
}

impl Label {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::DeviceLog => b"driftless device log record v1\0",
            Self::Keyring => b"driftless keyring v1\0",
            Self::FolderGenesis => b"driftless folder genesis v1\0",
            Self::Checkpoint => b"driftless checkpoint v1\0",
            Self::Receipts => b"driftless receipts v1\0",
            Self::Capability => b"driftless capability v1\0",
        }
    }

    fn message(self, body: &[u8]) -> Vec<u8> {
        [self.bytes(), body].concat()
    }
}

/// Signs a body with each of the keys, in order.
pub(crate) fn sign(label: Label, body: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    debug_assert!(keys.len() <= SIGNATURES_MAX, "no document has more signatures");
    let message = label.message(body);
    let mut blob = Vec::with_capacity(2 + keys.len() * Signature::LEN + body.len());
    blob.push(FORMAT);
    blob.push(u8::try_from(keys.len()).unwrap_or(u8::MAX));
    for key in keys {
        blob.extend_from_slice(key.sign(&message).as_bytes());
    }
    blob.extend_from_slice(body);
    blob
}

/// A document whose signatures have not been checked yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    label: Label,
    signatures: Vec<Signature>,
    /// The body as it was signed. Nothing in it may be believed before [`Unverified::verify`].
    pub(crate) body: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Takes a document apart.
    pub(crate) fn parse(
        label: Label,
        blob: &'a [u8],
        bytes_max: usize,
    ) -> Result<Self, TrustError> {
        at_most("document bytes", blob.len(), bytes_max)?;
        let (&[format, count], rest) =
            blob.split_first_chunk().ok_or(TrustError::Missing("signature"))?;
        if format != FORMAT {
            return Err(TrustError::Unknown { field: "format", value: u64::from(format) });
        }
        let count = usize::from(count);
        at_most("signatures", count, SIGNATURES_MAX)?;
        let (signatures, body) = rest
            .split_at_checked(count * Signature::LEN)
            .ok_or(TrustError::Missing("signature"))?;
        let signatures = signatures
            .chunks_exact(Signature::LEN)
            .map(Signature::from_slice)
            .collect::<Result<_, _>>()?;
        Ok(Self { label, signatures, body })
    }

    /// Checks that exactly these keys signed, in this order.
    pub(crate) fn verify(&self, keys: &[&[u8; 32]]) -> Result<(), TrustError> {
        if keys.len() != self.signatures.len() {
            return Err(TrustError::Signature);
        }
        let message = self.label.message(self.body);
        for (key, signature) in keys.iter().zip(&self.signatures) {
            if !verify_signature(key, &message, signature) {
                return Err(TrustError::Signature);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_signature_holds_for_one_kind_of_document() {
        let key = SigningKey::from_seed([1; 32]);
        let blob = sign(Label::Checkpoint, b"body", &[&key]);
        let same = Unverified::parse(Label::Checkpoint, &blob, 1000).unwrap();
        assert_eq!(same.verify(&[&key.public()]), Ok(()));
        let other = Unverified::parse(Label::FolderGenesis, &blob, 1000).unwrap();
        assert_eq!(other.verify(&[&key.public()]), Err(TrustError::Signature));
    }

    #[test]
    fn a_missing_or_spare_signature_is_refused() {
        let (one, two) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        let blob = sign(Label::DeviceLog, b"body", &[&one, &two]);
        let document = Unverified::parse(Label::DeviceLog, &blob, 1000).unwrap();
        assert_eq!(document.verify(&[&one.public(), &two.public()]), Ok(()));
        for keys in [vec![one.public()], vec![], vec![two.public(), one.public()]] {
            let keys: Vec<_> = keys.iter().collect();
            assert_eq!(document.verify(&keys), Err(TrustError::Signature));
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = SigningKey::from_seed([1; 32]).public();
            if let Ok(document) = Unverified::parse(Label::DeviceLog, &blob, 1000) {
                prop_assert!(document.verify(&[&key]).is_err());
            }
        }
    }
}
