//! Inviting another device.
//!
//! Owns what goes into a code and into the blob that waits for the joiner, and that the record and
//! the blob are made anew when another device has changed the log meanwhile.

use super::ask::{ask_done, now_ms, random32};
use super::devices::void_expired;
use super::refresh::refresh_log;
use super::{Account, AccountError};
use crate::context::Environment;
use crate::remote::{Remote, Server};
use common::ids::FolderId;
use common::trust::{
    InvitationBlob, InvitedFolder, JoinCode, JoinKind, TrustError, invitation_record,
};
use common::wire::meta::{CheckpointPut, InvitationOpen, RefusalCode, Request};
use std::collections::BTreeMap;

/// Rounds before giving up to other devices.
const ROUNDS: u32 = 8;

/// What is invited to.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Where the server is.
    pub server: Server,
    /// The folder for the joiner's directory, if one is meant.
    pub folder: Option<FolderId>,
    /// Signed checkpoints of folders that are synced here.
    pub checkpoints: BTreeMap<FolderId, Vec<u8>>,
    /// How long the code works, in milliseconds.
    pub life_ms: u64,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The code: a secret.
    pub code: JoinCode,
    /// When it stops working, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Opens an invitation. Voids expired ones first.
///
/// # Errors
/// [`AccountError`].
pub async fn open_invitation(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    invite: &Invite,
) -> Result<Invitation, AccountError> {
    super::refresh(account, remote, environment).await?;
    void_expired(account, remote, environment).await?;
    for checkpoint in invite.checkpoints.values() {
        let request = CheckpointPut { checkpoint: checkpoint.clone() };
        let request = Request::CheckpointPut(request);
        ask_done(remote, environment, "leaving a checkpoint", request).await?;
    }
    let code = JoinCode {
        kind: JoinKind::Device,
        addresses: invite.server.addresses.clone(),
        cluster: invite.server.cluster,
        secret: random32(environment),
    };
    let time_ms = now_ms(environment);
    let expires_ms = time_ms.saturating_add(invite.life_ms);
    for _ in 0..ROUNDS {
        let signer = &account.device_keys().signing;
        let record = invitation_record(account.log(), signer, &code, expires_ms, time_ms)?;
        let blob = blob(account, invite, &record)?.seal(&code.wrap_key())?;
        let request = InvitationOpen { record: record.clone(), blob };
        let request = Request::InvitationOpen(request);
        match ask_done(remote, environment, "opening an invitation", request).await {
            Ok(()) => {
                account.take_record(record)?;
                return Ok(Invitation { code, expires_ms });
            }
            Err(AccountError::Remote(error))
                if error.refusal_code() == Some(RefusalCode::Conflict) || error.is_offline() =>
            {
                refresh_log(account, remote, environment).await?;
                // The answer to this very record may have been lost on the way back.
                if account.log().invitation(&code.lookup()).is_some() {
                    return Ok(Invitation { code, expires_ms });
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(AccountError::Contended("the device log"))
}

/// What the joiner will need. The head that it names is the one after the invitation's record.
fn blob(account: &Account, invite: &Invite, record: &[u8]) -> Result<InvitationBlob, TrustError> {
    let mut log = account.log().clone();
    log.append(record)?;
    let folders = account.keyring().folders.iter().map(|(folder, held)| InvitedFolder {
        folder: *folder,
        name: held.name.clone(),
        checkpoint: invite.checkpoints.get(folder).cloned().unwrap_or_default(),
    });
    Ok(InvitationBlob {
        user: log.user(),
        device_log_head: log.head(),
        device_log_len: log.len(),
        keyring_version: account.keyring().version,
        user_secrets: account.secrets().clone(),
        folders: folders.collect(),
        invited: invite.folder,
    })
}
