//! Folders of the user: making one, and finding those that this device may sync.
//!
//! Owns the order of making a folder: its keys are in the keyring before the folder exists, so
//! that no folder is ever without keys.

use super::ask::{ask, ask_done, now_ms, random32};
use super::refresh::put_keyring;
use super::{Account, AccountError};
use crate::context::Environment;
use crate::remote::Remote;
use common::ids::FolderId;
use common::keys::{FolderKeys, KeyringFolder};
use common::trust::FolderGenesis;
use common::wire::meta::{Empty, FolderCreate, Reply, Request};
use std::collections::BTreeMap;

/// A folder that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFolder {
    /// Which folder.
    pub id: FolderId,
    /// Its name.
    pub name: String,
}

/// Makes a folder: keys, genesis, keyring, and then the folder itself at the server.
///
/// # Errors
/// [`AccountError::FolderNameTaken`]; [`AccountError::Keyring`] when the name is no label. After an
/// error the keyring may hold keys of a folder that does not exist, which harms nobody.
pub async fn create_folder(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    name: &str,
) -> Result<NewFolder, AccountError> {
    super::refresh(account, remote, environment).await?;
    let there = linkable_folders(account, remote, environment).await?;
    if there.values().any(|other| other == name) {
        return Err(AccountError::FolderNameTaken(name.to_owned()));
    }
    let genesis = FolderGenesis {
        user: account.log().user(),
        device: account.device(),
        nonce: random32(environment),
        created_ms: now_ms(environment),
    }
    .sign(&account.device_keys().signing);
    let id = FolderGenesis::id(&genesis);
    let keys = FolderKeys::new(random32(environment), random32(environment));
    let held = KeyringFolder { keys, name: name.to_owned() };
    put_keyring(account, remote, environment, |keyring| {
        keyring.folders.insert(id, held.clone());
        Ok(())
    })
    .await?;
    let request = Request::FolderCreate(FolderCreate { genesis });
    ask_done(remote, environment, "making a folder", request).await?;
    Ok(NewFolder { id, name: name.to_owned() })
}

/// The folders that exist at the server and for which this device has keys, with their names.
///
/// # Errors
/// [`AccountError::Trust`] when a genesis does not hold.
pub async fn linkable_folders(
    account: &Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<BTreeMap<FolderId, String>, AccountError> {
    let mut folders = BTreeMap::new();
    for reply in ask(remote, environment, Request::FolderList(Empty {})).await? {
        let Reply::Folders(part) = reply else {
            return Err(AccountError::Answer("listing the folders"));
        };
        for state in part.folders {
            let (id, genesis) = FolderGenesis::open(&state.genesis)?;
            let ours =
                genesis.user == account.log().user() && account.log().was_enrolled(&genesis.device);
            if let Some(held) = account.keyring().folders.get(&id).filter(|_| ours) {
                folders.insert(id, held.name.clone());
            }
        }
    }
    Ok(folders)
}

/// Checks that a folder exists at the server and that its keys are at hand; gives its name.
///
/// # Errors
/// [`AccountError::NoFolderKeys`]; [`AccountError::NoSuchFolder`].
pub async fn verify_folder(
    account: &Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    folder: &FolderId,
) -> Result<String, AccountError> {
    account.folder_keys(folder)?;
    linkable_folders(account, remote, environment)
        .await?
        .remove(folder)
        .ok_or_else(|| AccountError::NoSuchFolder(folder.to_string()))
}
