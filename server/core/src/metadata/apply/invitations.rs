//! Invitations: opening and redeeming them, once and in time.
//!
//! Owns the kinds (a bootstrap invitation makes a user, a device invitation adds a device to one;
//! neither redeems as the other) and that a blob goes with its redemption. It must not know what a
//! blob says.

use super::super::outcome::{Event, Refused};
use super::super::state::{DeviceState, InvitationState, Quota};
use super::super::store::{MetaReads, MetaStore};
use super::users::{append, genesis};
use super::{Stop, user_of};
use common::ids::{DeviceId, LookupId, UserId};
use common::limits::{INVITATION_BYTES_MAX, INVITATION_LIFE_MS_MAX, INVITATIONS_OPEN_MAX};
use common::trust::{JoinKind, LogEvent};

/// Who redeems what.
pub(super) struct Joining<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) lookup: &'a LookupId,
    pub(super) record: &'a [u8],
}

/// An invitation that is not expired.
fn valid(
    store: &(impl MetaReads + ?Sized),
    lookup: &LookupId,
    time_ms: u64,
) -> Result<InvitationState, Stop> {
    match store.invitation(lookup)? {
        Some(invitation) if time_ms < invitation.expires_ms => Ok(invitation),
        _ => Err(Refused::InvitationInvalid.into()),
    }
}

/// A new one has a lookup id of its own, an expiry ahead, and finds room.
fn check_new(
    store: &(impl MetaReads + ?Sized),
    user: Option<&UserId>,
    lookup: &LookupId,
    time_ms: u64,
    expires_ms: u64,
) -> Result<(), Stop> {
    if expires_ms <= time_ms || expires_ms - time_ms > INVITATION_LIFE_MS_MAX {
        return Err(Refused::InvitationExpiry.into());
    }
    if store.invitation(lookup)?.is_some() {
        return Err(Refused::LookupTaken.into());
    }
    if store.invitations(user)? >= INVITATIONS_OPEN_MAX {
        let limit = INVITATIONS_OPEN_MAX;
        return Err(Refused::TooMany { what: "open invitations", limit }.into());
    }
    Ok(())
}

/// Nobody's log remembers a bootstrap invitation, so expired ones are dropped here.
pub(super) fn open_bootstrap(
    store: &mut dyn MetaStore,
    time_ms: u64,
    lookup: &LookupId,
    expires_ms: u64,
) -> Result<(), Stop> {
    for (expired, user) in store.invitations_expired(time_ms, usize::MAX)? {
        if user.is_none() {
            store.delete_invitation(&expired)?;
        }
    }
    check_new(store, None, lookup, time_ms, expires_ms)?;
    let invitation = InvitationState { user: None, expires_ms, blob: Vec::new() };
    store.put_invitation(lookup, &invitation)?;
    Ok(())
}

pub(super) fn redeem_bootstrap(
    store: &mut dyn MetaStore,
    time_ms: u64,
    joining: &Joining<'_>,
    quota: &Quota,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let log = genesis(joining.record, joining.device)?;
    let user = log.user();
    if store.user(&user)?.is_some() {
        // The user's id is the hash of this record: the same redemption, after a lost reply.
        return Ok(());
    }
    if valid(store, joining.lookup, time_ms)?.user.is_some() {
        return Err(Refused::InvitationInvalid.into());
    }
    if store.device(joining.device)?.is_some() {
        return Err(Refused::DeviceTaken(*joining.device).into());
    }
    store.insert_user(&user, time_ms, quota)?;
    store.append_log(&user, joining.record, &log.head())?;
    let first =
        DeviceState { user, position: 0, revoked: false, revoked_ms: None, seen_ms: Some(time_ms) };
    store.put_device(joining.device, &first)?;
    store.delete_invitation(joining.lookup)?;
    events.push(Event::Devices { user });
    Ok(())
}

pub(super) fn open(
    store: &mut dyn MetaStore,
    time_ms: u64,
    device: &DeviceId,
    record: &[u8],
    blob: &[u8],
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let user = user_of(store, device)?;
    if blob.len() > INVITATION_BYTES_MAX {
        let (actual, limit) = (blob.len(), INVITATION_BYTES_MAX);
        return Err(Refused::TooLarge { what: "invitation blob", actual, limit }.into());
    }
    let mut opened = None;
    let accepts = |reads: &dyn MetaReads, event: &LogEvent| match event {
        LogEvent::InvitationOpened { lookup, kind: JoinKind::Device, expires_ms } => {
            check_new(reads, Some(&user), lookup, time_ms, *expires_ms)?;
            opened = Some((*lookup, *expires_ms));
            Ok(())
        }
        _ => Err(Refused::RecordKind.into()),
    };
    append(store, &user, record, accepts, events)?;
    if let Some((lookup, expires_ms)) = opened {
        let invitation = InvitationState { user: Some(user), expires_ms, blob: blob.to_vec() };
        store.put_invitation(&lookup, &invitation)?;
    }
    Ok(())
}

pub(super) fn redeem(
    store: &mut dyn MetaStore,
    time_ms: u64,
    joining: &Joining<'_>,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    if is_repeated(store, joining)? {
        return Ok(());
    }
    let Some(user) = valid(store, joining.lookup, time_ms)?.user else {
        return Err(Refused::InvitationInvalid.into());
    };
    let accepts = |_: &dyn MetaReads, event: &LogEvent| match event {
        LogEvent::DeviceAdded { device, lookup, .. }
            if device == joining.device && lookup == joining.lookup =>
        {
            Ok(())
        }
        _ => Err(Refused::RecordKind.into()),
    };
    append(store, &user, joining.record, accepts, events)
}

/// Whether this very record has added the peer before: a redemption after a lost reply.
fn is_repeated(store: &(impl MetaReads + ?Sized), joining: &Joining<'_>) -> Result<bool, Stop> {
    let Some(state) = store.device(joining.device)?.filter(|state| !state.revoked) else {
        return Ok(false);
    };
    let records = store.log_records(&state.user, state.position, 1)?;
    Ok(records.first().is_some_and(|record| record == joining.record))
}
