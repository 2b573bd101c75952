//! Requests answered by one frame from what is stored: keyring, outcomes, capability, presence.
//!
//! Owns their bounds and wire shapes. It must not change anything.

use super::Service;
use super::access;
use super::presence::Seen;
use super::refusal::{bad_id, malformed};
use common::ids::{DeviceId, FolderId, RequestId};
use common::limits::{CAPABILITY_LIFE_MS, REPLY_ITEMS_MAX};
use common::trust::Capability;
use common::wire::meta::{
    CapabilityReply, CapabilityRequest, DevicePresence, Keyring, Outcome, Outcomes, OutcomesRead,
    PresenceReply, Refusal, Reply,
};
use server_core::metadata::{DeviceState, MetaReads};

/// Bytes that a capability permits at most, whatever the quota leaves: more than a device can send
/// while it lives.
const CAPABILITY_BYTES_MAX: u64 = 1 << 40;

pub(super) async fn keyring(service: &Service, peer: DeviceId) -> Result<Reply, Refusal> {
    let read = move |reads: &dyn MetaReads| {
        let user = access::device(reads, &peer)?.user;
        Ok(reads.keyring(&user)?)
    };
    let (version, sealed) = service.inner.meta.read(read).await?;
    Ok(Reply::Keyring(Keyring { version, sealed }))
}

pub(super) async fn outcomes(
    service: &Service,
    peer: DeviceId,
    request: OutcomesRead,
) -> Result<Reply, Refusal> {
    if request.counters.len() > REPLY_ITEMS_MAX {
        return Err(malformed(format!(
            "at most {REPLY_ITEMS_MAX} outcomes are asked for at a time"
        )));
    }
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        let mut outcomes = Vec::with_capacity(request.counters.len());
        for counter in request.counters {
            let id = RequestId { incarnation: request.incarnation, counter };
            let kept = reads.outcome(&folder, &peer, &id)?;
            outcomes.push(kept.map_or(Outcome { kind: None }, |kept| Outcome::from(&kept.outcome)));
        }
        Ok(outcomes)
    };
    let outcomes = service.inner.meta.read(read).await?;
    Ok(Reply::Outcomes(Outcomes { outcomes }))
}

pub(super) async fn capability(
    service: &Service,
    peer: DeviceId,
    request: CapabilityRequest,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let read = move |reads: &dyn MetaReads| {
        let owner = access::folder(reads, &peer, &folder)?.user;
        Ok(reads.user(&owner)?)
    };
    let user = service.inner.meta.read(read).await?;
    let left = user.map_or(0, |user| user.quota.bytes_max.saturating_sub(user.usage.bytes));
    let expires_ms = service.now_ms().saturating_add(CAPABILITY_LIFE_MS);
    let capability = Capability {
        cluster: service.cluster(),
        device: peer,
        folder,
        read: true,
        write: true,
        bytes_max: left.min(CAPABILITY_BYTES_MAX),
        expires_ms,
        key_id: service.inner.capability_key,
    };
    let capability = capability.sign(&service.inner.cluster_key);
    Ok(Reply::Capability(CapabilityReply { capability, expires_ms }))
}

pub(super) async fn presence(service: &Service, peer: DeviceId) -> Result<Reply, Refusal> {
    let read = move |reads: &dyn MetaReads| {
        let user = access::device(reads, &peer)?.user;
        Ok(reads.devices(&user)?)
    };
    let devices = service.inner.meta.read(read).await?;
    let devices = devices.into_iter().filter_map(|(device, state)| {
        presence_of(device, &state, service.inner.presence.seen(&device))
    });
    Ok(Reply::Presence(PresenceReply { devices: devices.collect() }))
}

fn presence_of(
    device: DeviceId,
    state: &DeviceState,
    seen: Option<Seen>,
) -> Option<DevicePresence> {
    let last_seen_ms = seen.map(|seen| seen.last_seen_ms).max(state.seen_ms)?;
    let online = seen.is_some_and(|seen| seen.online) && !state.revoked;
    Some(DevicePresence { device: device.to_vec(), online, last_seen_ms })
}
