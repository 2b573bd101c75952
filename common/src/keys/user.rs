//! A user's secrets: the generations of the user secret, the keys of a device, the recovery key,
//! and what is sealed under them directly (device labels, the secret itself).
//!
//! Owns these derivations. It must not know which devices are listed: that is the device log's word.

use super::agreement::{AgreementError, AgreementKey, BOX_OVERHEAD_BYTES, seal_to};
use super::printed::{self, PrintedError};
use super::sealed::{self, SealedError};
use super::signing::SigningKey;
use crate::ids::DeviceId;
use crate::limits::LABEL_BYTES_MAX;
use std::collections::BTreeMap;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

const DEVICE_SIGNING_CONTEXT: &str = "driftless 2026 device signing key v1";
const DEVICE_AGREEMENT_CONTEXT: &str = "driftless 2026 device agreement key v1";
const RECOVERY_SIGNING_CONTEXT: &str = "driftless 2026 recovery signing key v1";
const RECOVERY_AGREEMENT_CONTEXT: &str = "driftless 2026 recovery agreement key v1";
const LABEL_CONTEXT: &str = "driftless 2026 device label key v1";
const PREVIOUS_CONTEXT: &str = "driftless 2026 previous user secret key v1";
const KEYRING_CONTEXT: &str = "driftless 2026 keyring key v1";

const LABEL_PADDING_BYTES: usize = 32;
const GENERATION_BYTES: usize = 4;
const RECOVERY_PREFIX: &str = "driftless-recovery-";
/// Characters of a printed recovery key with room for spaces and line breaks.
const RECOVERY_TEXT_BYTES_MAX: usize = 256;

/// Size of one user secret sealed to one key.
pub(crate) const SECRET_BOX_BYTES: usize = 32 + BOX_OVERHEAD_BYTES;
/// Size of one user secret sealed under the next generation.
pub(crate) const PREVIOUS_SECRET_BYTES: usize = sealed::sealed_bytes(32, 1);
/// Largest sealed label of a device.
pub(crate) const SEALED_LABEL_BYTES_MAX: usize =
    GENERATION_BYTES + sealed::sealed_bytes(LABEL_BYTES_MAX, LABEL_PADDING_BYTES);

/// A label that cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing.
    #[error("the label is empty")]
    Empty,
    /// Over the limit.
    #[error("the label has {0} bytes, over the limit of {LABEL_BYTES_MAX}")]
    TooLong(usize),
    /// A control character, which a terminal might obey.
    #[error("the label contains a control character")]
    Control,
    /// Not text.
    #[error("the label is not valid UTF-8")]
    NotUtf8,
    /// Sealed under a generation of the user secret that is not at hand.
    #[error("the label is sealed under generation {0} of the user secret, which is not known")]
    Generation(u32),
    /// Not sealed for this device, or altered.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

/// Checks text that a person gave to a device or a folder: 1 to [`LABEL_BYTES_MAX`] bytes, and no
/// control character.
///
/// # Errors
/// [`LabelError`].
pub fn check_label(label: &str) -> Result<(), LabelError> {
    if label.is_empty() {
        return Err(LabelError::Empty);
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(LabelError::TooLong(label.len()));
    }
    if label.chars().any(char::is_control) {
        return Err(LabelError::Control);
    }
    Ok(())
}

/// The private keys of one device, both from one seed.
#[derive(Clone)]
pub struct DeviceKeys {
    seed: Zeroizing<[u8; 32]>,
    /// Its identity: signs, and is the peer of its connections.
    pub signing: SigningKey,
    /// To which user secrets are sealed.
    pub agreement: AgreementKey,
}

impl DeviceKeys {
    /// The keys of this seed. Every 32 bytes are a valid seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            signing: SigningKey::from_seed(blake3::derive_key(DEVICE_SIGNING_CONTEXT, &seed)),
            agreement: AgreementKey::from_seed(blake3::derive_key(DEVICE_AGREEMENT_CONTEXT, &seed)),
            seed: Zeroizing::new(seed),
        }
    }

    /// The seed, to be stored where only its owner reads it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The device's id: its public signing key.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.signing.device()
    }
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({})", self.device())
    }
}

/// The public half of a [`RecoveryKey`], as the genesis of a device log lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryPublic {
    /// X25519: every generation of the user secret is sealed to it.
    pub agreement: [u8; 32],
    /// Ed25519: room for enrolling a device when all others are lost.
    pub signing: [u8; 32],
}

/// The key with which a user's secrets are recovered when all devices are lost; shown once.
#[derive(Clone)]
pub struct RecoveryKey {
    seed: Zeroizing<[u8; 32]>,
}

impl RecoveryKey {
    /// The key of this seed. Every 32 bytes are a valid seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed) }
    }

    /// Opens what is sealed to it.
    #[must_use]
    pub fn agreement(&self) -> AgreementKey {
        AgreementKey::from_seed(blake3::derive_key(RECOVERY_AGREEMENT_CONTEXT, &*self.seed))
    }

    /// Signs in the user's name.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        SigningKey::from_seed(blake3::derive_key(RECOVERY_SIGNING_CONTEXT, &*self.seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> RecoveryPublic {
        RecoveryPublic { agreement: *self.agreement().public(), signing: self.signing().public() }
    }

    /// The line that a person keeps: `driftless-recovery-` and 61 letters and digits.
    #[must_use]
    pub fn print(&self) -> Zeroizing<String> {
        printed::print(RECOVERY_PREFIX, &*self.seed)
    }

    /// Reads the line that [`RecoveryKey::print`] made.
    ///
    /// # Errors
    /// [`PrintedError`] says what is wrong with the line.
    pub fn parse(text: &str) -> Result<Self, PrintedError> {
        let bytes = printed::parse(RECOVERY_PREFIX, text, RECOVERY_TEXT_BYTES_MAX)?;
        let mut seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| PrintedError::Checksum)?;
        let key = Self::from_seed(seed);
        seed.zeroize();
        Ok(key)
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(…)")
    }
}

/// The generations of a user secret that are at hand, ascending; at least one.
#[derive(Clone)]
pub struct UserSecrets {
    generations: BTreeMap<u32, Zeroizing<[u8; 32]>>,
    newest: u32,
}

impl UserSecrets {
    /// A new user's: generation 1 alone.
    #[must_use]
    pub fn first(secret: [u8; 32]) -> Self {
        Self::starting_at(1, secret)
    }

    /// One generation alone, from which earlier ones may be opened.
    pub(crate) fn starting_at(generation: u32, secret: [u8; 32]) -> Self {
        let generations = BTreeMap::from([(generation, Zeroizing::new(secret))]);
        Self { generations, newest: generation }
    }

    /// Stored generations, in any order; `None` when there is none, or one is numbered 0.
    #[must_use]
    pub fn from_parts(parts: impl IntoIterator<Item = (u32, [u8; 32])>) -> Option<Self> {
        let generations: BTreeMap<_, _> = parts
            .into_iter()
            .map(|(generation, secret)| (generation, Zeroizing::new(secret)))
            .collect();
        let newest = *generations.keys().next_back()?;
        (!generations.contains_key(&0)).then_some(Self { generations, newest })
    }

    /// The newest generation's number and secret.
    #[must_use]
    pub fn newest(&self) -> (u32, &[u8; 32]) {
        (self.newest, &self.generations[&self.newest])
    }

    /// The secret of one generation.
    #[must_use]
    pub fn get(&self, generation: u32) -> Option<&[u8; 32]> {
        self.generations.get(&generation).map(|secret| &**secret)
    }

    /// All generations at hand, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8; 32])> {
        self.generations.iter().map(|(generation, secret)| (*generation, &**secret))
    }

    /// Adds a generation. One that is there already stays as it is.
    pub fn add(&mut self, generation: u32, secret: [u8; 32]) {
        self.generations.entry(generation).or_insert_with(|| Zeroizing::new(secret));
        self.newest = self.newest.max(generation);
    }

    /// The key that seals the keyring under one generation.
    pub(crate) fn keyring_key(&self, generation: u32) -> Option<Zeroizing<[u8; 32]>> {
        self.get(generation)
            .map(|secret| Zeroizing::new(blake3::derive_key(KEYRING_CONTEXT, secret)))
    }
}

impl PartialEq for UserSecrets {
    fn eq(&self, other: &Self) -> bool {
        self.generations.len() == other.generations.len()
            && self.iter().zip(other.iter()).all(|((left, secret), (right, theirs))| {
                left == right && bool::from(secret.ct_eq(theirs))
            })
    }
}

impl Eq for UserSecrets {}

impl fmt::Debug for UserSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSecrets")?;
        f.debug_list().entries(self.generations.keys()).finish()
    }
}

/// Seals a device's label under the newest generation: generation (u32 LE), sealed document.
pub(crate) fn seal_label(
    secrets: &UserSecrets,
    device: &DeviceId,
    label: &str,
) -> Result<Vec<u8>, LabelError> {
    check_label(label)?;
    let (generation, secret) = secrets.newest();
    let key = Zeroizing::new(blake3::derive_key(LABEL_CONTEXT, secret));
    let mut bytes = generation.to_le_bytes().to_vec();
    let purpose = label_purpose(generation, device);
    bytes.extend(sealed::seal(&key, &purpose, LABEL_PADDING_BYTES, label.as_bytes()));
    Ok(bytes)
}

/// Opens the label of `device`.
pub(crate) fn open_label(
    secrets: &UserSecrets,
    device: &DeviceId,
    bytes: &[u8],
) -> Result<String, LabelError> {
    let (generation, document) =
        bytes.split_first_chunk().ok_or(SealedError::Truncated(bytes.len()))?;
    let generation = u32::from_le_bytes(*generation);
    let secret = secrets.get(generation).ok_or(LabelError::Generation(generation))?;
    let key = Zeroizing::new(blake3::derive_key(LABEL_CONTEXT, secret));
    let plain = sealed::open(&key, &label_purpose(generation, device), document)?;
    let label = std::str::from_utf8(&plain).map_err(|_| LabelError::NotUtf8)?;
    check_label(label)?;
    Ok(label.to_owned())
}

fn label_purpose(generation: u32, device: &DeviceId) -> Vec<u8> {
    [b"driftless device label v1\0", &generation.to_le_bytes()[..], device.as_bytes()].concat()
}

/// Seals one generation of the user secret to a device's or the recovery key.
pub(crate) fn seal_secret_box(
    recipient: &[u8; 32],
    seed: &[u8; 32],
    generation: u32,
    secret: &[u8; 32],
) -> Result<Vec<u8>, AgreementError> {
    seal_to(recipient, seed, &box_purpose(generation), secret)
}

/// Opens what [`seal_secret_box`] made for this key.
pub(crate) fn open_secret_box(
    key: &AgreementKey,
    generation: u32,
    sealed: &[u8],
) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
    let plain = key.open(&box_purpose(generation), sealed)?;
    plain.as_slice().try_into().map(Zeroizing::new).map_err(|_| AgreementError::Open)
}

fn box_purpose(generation: u32) -> Vec<u8> {
    [b"driftless user secret v1\0", &generation.to_le_bytes()[..]].concat()
}

/// Seals the secret of the generation before `generation` under `secret`, which is the new one, so
/// that whoever holds the newest opens all.
pub(crate) fn seal_previous_secret(
    secret: &[u8; 32],
    generation: u32,
    previous: &[u8; 32],
) -> Vec<u8> {
    let key = Zeroizing::new(blake3::derive_key(PREVIOUS_CONTEXT, secret));
    sealed::seal(&key, &generation.to_le_bytes(), 1, previous)
}

/// Opens what [`seal_previous_secret`] made.
pub(crate) fn open_previous_secret(
    secret: &[u8; 32],
    generation: u32,
    bytes: &[u8],
) -> Result<Zeroizing<[u8; 32]>, SealedError> {
    let key = Zeroizing::new(blake3::derive_key(PREVIOUS_CONTEXT, secret));
    let plain = sealed::open(&key, &generation.to_le_bytes(), bytes)?;
    plain.as_slice().try_into().map(Zeroizing::new).map_err(|_| SealedError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_prints_and_reads_back() {
        let key = RecoveryKey::from_seed([5; 32]);
        let text = key.print();
        assert_eq!(text.len(), RECOVERY_PREFIX.len() + 61);
        assert_eq!(RecoveryKey::parse(&text).unwrap().public(), key.public());
        assert_eq!(
            RecoveryKey::parse(&text[..40]).unwrap_err(),
            PrintedError::Truncated(text.len() - 40)
        );
    }

    #[test]
    fn a_label_opens_for_its_device_and_generation_only() {
        let device = DeviceKeys::from_seed([1; 32]).device();
        let secrets = UserSecrets::first([2; 32]);
        let sealed = seal_label(&secrets, &device, "Anna's laptop").unwrap();
        assert_eq!(open_label(&secrets, &device, &sealed), Ok("Anna's laptop".into()));
        let other = DeviceKeys::from_seed([3; 32]).device();
        let open = LabelError::Sealed(SealedError::Open);
        assert_eq!(open_label(&secrets, &other, &sealed), Err(open));
        let stranger = UserSecrets::first([9; 32]);
        assert_eq!(open_label(&stranger, &device, &sealed), Err(open));
        let later = UserSecrets::starting_at(2, [2; 32]);
        assert_eq!(open_label(&later, &device, &sealed), Err(LabelError::Generation(1)));
        assert_eq!(
            open_label(&secrets, &device, &sealed[..3]),
            Err(LabelError::Sealed(SealedError::Truncated(3)))
        );
    }

    #[test]
    fn a_label_is_bounded_and_harmless_on_a_terminal() {
        let device = DeviceKeys::from_seed([1; 32]).device();
        let secrets = UserSecrets::first([2; 32]);
        for (label, error) in [
            (String::new(), LabelError::Empty),
            ("x".repeat(129), LabelError::TooLong(129)),
            ("a\u{1b}[2J".into(), LabelError::Control),
        ] {
            assert_eq!(seal_label(&secrets, &device, &label), Err(error));
        }
        let longest = seal_label(&secrets, &device, &"x".repeat(128)).unwrap();
        assert_eq!(longest.len(), SEALED_LABEL_BYTES_MAX);
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let keys = DeviceKeys::from_seed([0xab; 32]);
        let secrets = UserSecrets::first([0xab; 32]);
        let recovery = RecoveryKey::from_seed([0xab; 32]);
        let printed = format!("{keys:?} {secrets:?} {recovery:?}");
        assert!(!printed.contains("abab") && !printed.contains("171"), "{printed}");
    }

    #[test]
    fn sizes_are_as_announced() {
        let key = AgreementKey::from_seed([1; 32]);
        let sealed = seal_secret_box(key.public(), &[2; 32], 1, &[3; 32]).unwrap();
        assert_eq!(sealed.len(), SECRET_BOX_BYTES);
        assert_eq!(*open_secret_box(&key, 1, &sealed).unwrap(), [3; 32]);
        assert!(open_secret_box(&key, 2, &sealed).is_err());
        let previous = seal_previous_secret(&[4; 32], 2, &[3; 32]);
        assert_eq!(previous.len(), PREVIOUS_SECRET_BYTES);
        assert_eq!(*open_previous_secret(&[4; 32], 2, &previous).unwrap(), [3; 32]);
    }

    #[test]
    fn the_newest_generation_is_the_highest() {
        let mut secrets = UserSecrets::first([1; 32]);
        secrets.add(3, [3; 32]);
        secrets.add(2, [2; 32]);
        secrets.add(3, [9; 32]);
        assert_eq!(secrets.newest(), (3, &[3; 32]));
        let again = UserSecrets::from_parts(secrets.iter().map(|(g, s)| (g, *s)));
        assert_eq!(again, Some(secrets));
        assert_eq!(UserSecrets::from_parts([]), None);
        assert_eq!(UserSecrets::from_parts([(0, [1; 32])]), None);
    }
}
