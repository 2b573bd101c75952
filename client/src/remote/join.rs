//! Joining: the two requests of a peer that is not enrolled yet.
//!
//! Owns how an invitation is fetched and redeemed under the join protocol, each on a connection of
//! its own. It must not open what it fetches, nor make the record that redeems.

use super::dial::Dialer;
use super::error::RemoteError;
use super::{Server, Timing, requests};
use common::keys::SigningKey;
use common::limits::{INVITATION_BYTES_MAX, LOG_RECORDS_MAX};
use common::trust::JoinCode;
use common::wire::ALPN_JOIN;
use common::wire::meta::{InvitationFetch, InvitationRedeem, Reply, Request};
use quinn::VarInt;

/// What was left for a joiner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The sealed blob; empty for a bootstrap invitation.
    pub blob: Vec<u8>,
    /// The device log of the inviting user, from its genesis; empty for a bootstrap invitation.
    pub device_log: Vec<Vec<u8>>,
}

/// Fetches what was left for the holder of `code`. `key` is the key of the device to be enrolled.
///
/// The code's addresses are tried in order, and its cluster key is the only one accepted.
///
/// # Errors
/// Refused with `InvitationInvalid` when the code is not known, was used, or has expired.
pub async fn fetch(code: &JoinCode, key: &SigningKey) -> Result<Left, RemoteError> {
    let request = InvitationFetch { lookup: code.lookup().to_vec() };
    let replies = ask(code, key, Request::InvitationFetch(request)).await?;
    let mut left = Left::default();
    for reply in replies {
        match reply {
            Reply::Invitation(invitation) => left.blob = invitation.blob,
            Reply::DeviceLog(part) if part.from == left.device_log.len() as u64 => {
                left.device_log.extend(part.records);
            }
            Reply::DeviceLog(_) => {
                return Err(RemoteError::Protocol("the device log has a gap".into()));
            }
            _ => return Err(RemoteError::Protocol("something else than was left".into())),
        }
        if left.blob.len() > INVITATION_BYTES_MAX || left.device_log.len() > LOG_RECORDS_MAX {
            return Err(RemoteError::Protocol("more than an invitation may leave".into()));
        }
    }
    Ok(left)
}

/// Redeems `code` with a signed record: of a new device, or the genesis of a new user's log.
///
/// Once it succeeded, or was lost on the way back, the device is enrolled; a second redeeming is
/// refused. After `Closed` or `Timeout`, try to connect as an enrolled device.
///
/// # Errors
/// Refused with `InvitationInvalid` as [`fetch`], or `RecordInvalid` when the log has moved on.
pub async fn redeem(code: &JoinCode, key: &SigningKey, record: Vec<u8>) -> Result<(), RemoteError> {
    let request = InvitationRedeem { lookup: code.lookup().to_vec(), record };
    match ask(code, key, Request::InvitationRedeem(request)).await?.as_slice() {
        [Reply::Done(_)] => Ok(()),
        _ => Err(RemoteError::Protocol("redeeming was answered with something else".into())),
    }
}

async fn ask(
    code: &JoinCode,
    key: &SigningKey,
    request: Request,
) -> Result<Vec<Reply>, RemoteError> {
    let timing = Timing::default();
    let server = Server { addresses: code.addresses.clone(), cluster: code.cluster };
    let link = Dialer::new(server, key, ALPN_JOIN, timing).dial().await?;
    let replies = requests::ask(&link.connection, request, timing.answer).await;
    link.connection.close(VarInt::from_u32(0), b"goodbye");
    replies
}
