//! One request id, one effect (M3, rule 7).
//!
//! Owns the window of kept outcomes of each incarnation of a device, and how many incarnations are
//! kept. It must not know what a group does.

use super::super::outcome::GroupOutcome;
use super::super::state::{KeptOutcome, RequestWindow};
use super::super::store::{MetaReads, MetaStore, Stored};
use common::ids::{DeviceId, FolderId, Head, RequestId};
use common::limits::OUTCOMES_KEPT;

/// Incarnations of a device in a folder whose outcomes are kept: older ones are closed.
pub(super) const INCARNATIONS_OPEN_MAX: usize = 8;
/// Incarnations of a device in a folder that are remembered at all; no more are taken.
pub(super) const INCARNATIONS_MAX: usize = 4096;

/// What a request id is, by what is kept of it.
#[derive(Debug)]
pub(super) enum Known {
    /// Not seen before, and to be judged.
    New,
    /// The same bytes have been judged: this came of it.
    Kept(GroupOutcome),
    /// Not to be judged, and why.
    Refused(&'static str),
}

pub(super) fn look_up(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    device: &DeviceId,
    request: &RequestId,
    digest: &Head,
) -> Stored<Known> {
    if request.counter == 0 || i64::try_from(request.counter).is_err() {
        return Ok(Known::Refused("a request's counter begins at 1 and stays below 2^63"));
    }
    let Some(window) = reads.window(folder, device, request.incarnation)? else {
        if reads.windows(folder, device)?.len() >= INCARNATIONS_MAX {
            return Ok(Known::Refused("the device has had too many incarnations"));
        }
        return Ok(Known::New);
    };
    if window.closed {
        return Ok(Known::Refused("the device has had newer incarnations since"));
    }
    if request.counter.saturating_add(OUTCOMES_KEPT) <= window.highest {
        return Ok(Known::Refused("the request is older than the outcomes that are kept"));
    }
    Ok(match reads.outcome(folder, device, request)? {
        None => Known::New,
        Some(kept) if kept.digest == *digest => Known::Kept(kept.outcome),
        Some(_) => Known::Refused("the request id was used with other bytes"),
    })
}

/// Keeps the outcome of a new request, and drops what leaves the window.
pub(super) fn keep(
    store: &mut dyn MetaStore,
    folder: &FolderId,
    device: &DeviceId,
    request: &RequestId,
    kept: &KeptOutcome,
) -> Stored<()> {
    let window = match store.window(folder, device, request.incarnation)? {
        Some(window) => window,
        None => begin(store, folder, device)?,
    };
    let highest = window.highest.max(request.counter);
    if highest != window.highest || window.highest == 0 {
        let window = RequestWindow { highest, ..window };
        store.put_window(folder, device, request.incarnation, &window)?;
    }
    store.put_outcome(folder, device, request, kept)?;
    if highest > OUTCOMES_KEPT {
        store.drop_outcomes(folder, device, request.incarnation, highest - OUTCOMES_KEPT)?;
    }
    Ok(())
}

/// Makes room for a new incarnation by closing the oldest.
fn begin(store: &mut dyn MetaStore, folder: &FolderId, device: &DeviceId) -> Stored<RequestWindow> {
    let windows = store.windows(folder, device)?;
    let open: Vec<_> = windows.iter().filter(|(_, window)| !window.closed).collect();
    let closing = (open.len() + 1).saturating_sub(INCARNATIONS_OPEN_MAX);
    for (incarnation, window) in open.into_iter().take(closing) {
        store.put_window(
            folder,
            device,
            *incarnation,
            &RequestWindow { closed: true, ..*window },
        )?;
        store.drop_outcomes(folder, device, *incarnation, u64::MAX)?;
    }
    let order = windows.last().map_or(1, |(_, window)| window.order + 1);
    Ok(RequestWindow { order, highest: 0, closed: false })
}
