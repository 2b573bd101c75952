//! M3: one request id, one effect; and no second effect under another id.

use super::super::world::World;
use common::ids::{DeviceId, EntryId};
use common::record::{Change, Content, Place};
use common::revision::Revision;
use std::collections::BTreeMap;

/// Checks that no request stands in the journal twice: under its id, or by its changes, which then
/// set a register to what the same device had just set it to. A change that a device makes anew says
/// something else, since a seal depends on all that is sealed.
pub fn m3_one_request_one_effect(world: &World) {
    let mut requests = BTreeMap::new();
    let mut effects = Effects::default();
    for row in world.journal() {
        let revision = row.entry.revision;
        let Ok(group) = row.entry.group.verify() else {
            world.ledger.violation(format!("M3: revision {revision} is not signed by its author"));
            continue;
        };
        let request = group.request;
        let key = (group.device, request.incarnation, request.counter);
        if let Some(earlier) = requests.insert(key, revision) {
            world.ledger.violation(format!(
                "M3: revisions {earlier} and {revision} are the effect of one request"
            ));
        }
        for change in &group.changes {
            // What is brought back brings its content along where retention has let go of it.
            let is_brought = |other: &Change| {
                matches!((change, other), (Change::Edit { entry, .. }, Change::Revive { entry: back, .. })
                    if entry == back)
            };
            let is_brought = group.changes.iter().any(is_brought);
            let earlier = effects.take(group.device, revision, change);
            if let Some(earlier) = earlier.filter(|_| !is_brought) {
                world.ledger.violation(format!(
                    "M3: revision {revision} does again what revision {earlier} of its author did"
                ));
            }
        }
    }
}

/// Who has set the registers last, and to what.
#[derive(Default)]
struct Effects {
    contents: BTreeMap<EntryId, (DeviceId, Revision, Content)>,
    places: BTreeMap<EntryId, (DeviceId, Revision, Option<Place>)>,
}

impl Effects {
    /// Takes a change in; returns the revision of which it is a second effect.
    fn take(&mut self, device: DeviceId, revision: Revision, change: &Change) -> Option<Revision> {
        let (entry, place, content) = match change {
            Change::Create { entry, place, content, .. } => {
                (entry, Some(Some(place)), Some(content))
            }
            Change::Edit { entry, content, .. } => (entry, None, Some(content)),
            Change::Move { entry, place, .. } | Change::Revive { entry, place, .. } => {
                (entry, Some(Some(place)), None)
            }
            Change::Delete { entry, .. } => (entry, Some(None), None),
            _ => return None,
        };
        let content = content.and_then(|content| {
            let before = self.contents.insert(*entry, (device, revision, content.clone()));
            before.filter(|(by, _, what)| (by, what) == (&device, content)).map(|(_, at, _)| at)
        });
        let place = place.and_then(|place| {
            let before = self.places.insert(*entry, (device, revision, place.cloned()));
            before
                .filter(|(by, _, what)| (by, what.as_ref()) == (&device, place))
                .map(|(_, at, _)| at)
        });
        content.or(place)
    }
}
