//! What devices have told that their disks hold.
//!
//! Owns what was told since the metadata was last told: a report for each change would cost a write
//! each. It must not know what a device does with a folder.

use super::Service;
use super::access;
use super::refusal::bad_id;
use common::ids::{DeviceId, FolderId};
use common::revision::Revision;
use common::wire::meta::{Empty, Holder, HoldersRead, HoldersReply, Refusal, Reply, Report};
use server_core::metadata::{Action, MetaReads};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reports that have not been recorded.
#[derive(Default)]
pub(super) struct Positions {
    told: Mutex<BTreeMap<(FolderId, DeviceId), Revision>>,
}

impl Positions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(FolderId, DeviceId), Revision>> {
        // Nothing panics while it holds this lock, and the map is whole between statements.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a report of an enrolled device about a folder of its user.
pub(super) async fn report(
    service: &Service,
    peer: DeviceId,
    request: Report,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let read = move |reads: &dyn MetaReads| Ok(access::folder(reads, &peer, &folder)?.revision);
    let last = service.inner.meta.read(read).await?;
    service.inner.positions.lock().insert((folder, peer), request.revision.min(last));
    Ok(Reply::Done(Empty {}))
}

/// What devices hold of a folder: those that are enrolled now.
pub(super) async fn holders(
    service: &Service,
    peer: DeviceId,
    request: HoldersRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let read = move |reads: &dyn MetaReads| {
        let state = access::folder(reads, &peer, &folder)?;
        let known = reads.positions(&folder)?;
        // A server that was restored may know of what it has lost.
        let known = known.into_iter().map(|(device, at)| (device, at.min(state.revision)));
        let devices = reads.devices(&state.user)?.into_iter();
        let enrolled = devices.filter(|(_, state)| !state.revoked).map(|(device, _)| device);
        Ok((known.collect(), enrolled.collect()))
    };
    let told: (BTreeMap<_, _>, BTreeSet<_>) = service.inner.meta.read(read).await?;
    let (mut known, enrolled) = told;
    for ((of, device), at) in service.inner.positions.lock().iter() {
        if *of == folder {
            known.insert(*device, *at);
        }
    }
    let holders = known.into_iter().filter(|(device, _)| enrolled.contains(device));
    let holders = holders.map(|(device, revision)| Holder { device: device.to_vec(), revision });
    Ok(Reply::Holders(HoldersReply { holders: holders.collect() }))
}

/// Writes down what was told since the last call.
pub(super) async fn record(service: &Service) -> Result<(), Refusal> {
    let told = std::mem::take(&mut *service.inner.positions.lock());
    if told.is_empty() {
        return Ok(());
    }
    let positions = told.iter().map(|((folder, device), at)| (*folder, *device, *at)).collect();
    let done = service.inner.meta.apply(Action::NotePositions { positions }).await;
    if done.is_err() {
        // What was told meanwhile is newer.
        let mut now = service.inner.positions.lock();
        for (key, at) in told {
            now.entry(key).or_insert(at);
        }
    }
    done.map(|_| ())
}
