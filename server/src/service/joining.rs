//! Joining: what a peer that is not enrolled yet may ask.
//!
//! Owns the two requests under the join ALPN. A lookup id is 128 bits of a secret, so finding an
//! invitation takes the code; what is found is sealed all the same. One answer for unknown, used
//! and expired. It must not open a blob.

use super::Service;
use super::access::Denied;
use super::refusal::{bad_id, malformed};
use super::replies::{Replies, Rest};
use common::ids::{DeviceId, LookupId};
use common::trust::DeviceLog;
use common::wire::meta::{
    Empty, InvitationFetch, InvitationRedeem, InvitationReply, Refusal, RefusalCode, Reply, Request,
};
use server_core::metadata::{Action, InvitationState, MetaReads};

/// Answers a joiner.
pub(super) async fn join(
    service: &Service,
    peer: DeviceId,
    request: Request,
) -> Result<Replies, Refusal> {
    match request {
        Request::InvitationFetch(fetch) => self::fetch(service, fetch).await,
        Request::InvitationRedeem(redeem) => self::redeem(service, peer, redeem).await,
        _ => Err(malformed("a joiner fetches or redeems an invitation")),
    }
}

async fn fetch(service: &Service, request: InvitationFetch) -> Result<Replies, Refusal> {
    let admitted = service.inner.admission.join()?;
    let lookup = LookupId::from_slice(&request.lookup).map_err(bad_id)?;
    let invitation = find(service, lookup).await?;
    let rest = invitation.user.map(|user| Rest::DeviceLog { user, from: 0, begun: false });
    let first = Reply::Invitation(InvitationReply { blob: invitation.blob });
    Ok(Replies::new(service, None, admitted, [first], rest))
}

async fn redeem(
    service: &Service,
    device: DeviceId,
    request: InvitationRedeem,
) -> Result<Replies, Refusal> {
    let admitted = service.inner.admission.join()?;
    let lookup = LookupId::from_slice(&request.lookup).map_err(bad_id)?;
    let InvitationRedeem { record, .. } = request;
    // By the record and not by what the lookup id finds: after a lost reply the invitation is gone,
    // and redeeming again is still to be told apart from redeeming what was used.
    let action = if DeviceLog::genesis(&record).is_ok() {
        let quota = service.inner.quota;
        Action::RedeemBootstrap { device, lookup, genesis: record, quota }
    } else {
        Action::RedeemInvitation { device, lookup, record }
    };
    service.inner.meta.apply(action).await?;
    tracing::info!(%device, "a device has joined");
    Ok(Replies::new(service, None, admitted, [Reply::Done(Empty {})], None))
}

async fn find(service: &Service, lookup: LookupId) -> Result<InvitationState, Refusal> {
    let now_ms = service.now_ms();
    let read = move |reads: &dyn MetaReads| {
        let found = reads.invitation(&lookup)?;
        found.filter(|state| now_ms < state.expires_ms).ok_or_else(|| {
            Denied::Refused(Refusal::new(
                RefusalCode::InvitationInvalid,
                "the join code is not known, was used, or has expired",
            ))
        })
    };
    service.inner.meta.read(read).await
}
