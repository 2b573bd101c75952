//! M9: what any device has is on the server, after a restore from an older backup too.

use super::super::bundles::shown;
use super::super::world::World;
use super::super::writer::contents;
use common::ids::ContentTag;
use common::record::Kind;
use std::collections::BTreeSet;

/// Checks that each content that a device shows is that of a live entry of the server. With S1, which
/// finds what devices deleted, this says that a restore loses nothing which any device held.
pub fn m9_the_server_has_everything(world: &World) {
    let live = live_contents(world);
    for device in &world.devices {
        for (print, path) in contents(&shown(&device.fs.user())) {
            let Some(value) = world.ledger.value(&print) else { continue };
            if !live.contains(&value.tag) {
                let (device, number) = (device.number, value.number);
                world.ledger.violation(format!(
                    "M9: value {number}, at {path} on device {device}, is not on the server"
                ));
            }
        }
    }
}

/// Contents of the files that are not deleted at the server.
pub(super) fn live_contents(world: &World) -> BTreeSet<ContentTag> {
    let (folder, meta) = (world.folder(), world.server.meta());
    let entries = meta.read(|reads| reads.entries(&folder, None, usize::MAX >> 1)).unwrap();
    let mut live: BTreeSet<ContentTag> = BTreeSet::new();
    for (entry, _) in entries.into_iter().filter(|(_, kind)| *kind == Kind::File) {
        let state = meta.read(|reads| reads.entry(&folder, &entry)).unwrap().unwrap();
        if !state.deleted {
            let newest = meta.read(|reads| reads.contents(&folder, &entry, u64::MAX >> 1, 1));
            live.extend(newest.unwrap().into_iter().map(|version| version.content.tag));
        }
    }
    live
}
