//! Keys: signing and agreement keys, a user's secrets, the folder's key hierarchy, and how secrets
//! travel between a user's devices.
//!
//! Owns every `derive_key` context of a key. It must not draw randomness: seeds come from the
//! caller.

mod agreement;
mod folder;
mod keyring;
mod printed;
mod sealed;
mod signing;
mod user;

pub use agreement::{AgreementError, AgreementKey, BOX_OVERHEAD_BYTES, is_weak_public, seal_to};
pub use folder::{ContentTagBuilder, FolderKeys, KeysError};
pub use keyring::{Keyring, KeyringError, KeyringFolder, OpenedKeyring};
pub use printed::PrintedError;
pub use sealed::SealedError;
pub use signing::{SigningKey, verify_signature};
pub use user::{DeviceKeys, LabelError, RecoveryKey, RecoveryPublic, UserSecrets, check_label};

pub(crate) use folder::SealingPair;
pub(crate) use printed::{parse as parse_printed, print as print_secret};
pub(crate) use sealed::{open as open_document, seal as seal_document};
pub(crate) use user::{
    PREVIOUS_SECRET_BYTES, SEALED_LABEL_BYTES_MAX, SECRET_BOX_BYTES, open_label,
    open_previous_secret, open_secret_box, seal_label, seal_previous_secret, seal_secret_box,
};
