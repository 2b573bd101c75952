//! What entries were called at a revision.
//!
//! Owns a memory of places for the time of one answer: most directories never move, so few are asked
//! for.

use super::{AskError, Engine};
use common::chunk::open_name;
use common::ids::EntryId;
use common::limits::DEPTH_MAX;
use common::record::{Place, Registers};
use common::revision::Revision;
use std::collections::BTreeMap;

/// Where an entry was from one revision to another.
struct Stay {
    from: Revision,
    to: Revision,
    parent: EntryId,
    name: String,
}

/// Places that are known.
#[derive(Default)]
pub(super) struct Paths {
    stays: BTreeMap<EntryId, Vec<Stay>>,
}

impl Paths {
    /// The path of an entry that was at `place` as of a revision. A part that cannot be known is
    /// shown as such.
    pub(super) async fn path_of(
        &mut self,
        engine: &Engine,
        entry: &EntryId,
        place: &Place,
        at: Revision,
    ) -> Result<String, AskError> {
        let name = name_of(engine, entry, &place.name);
        self.path_in(engine, &place.parent, &name, at).await
    }

    /// The path of a name in a directory as of a revision.
    pub(super) async fn path_in(
        &mut self,
        engine: &Engine,
        parent: &EntryId,
        name: &str,
        at: Revision,
    ) -> Result<String, AskError> {
        let (mut parts, mut above) = (vec![name.to_owned()], *parent);
        while above != EntryId::ROOT && parts.len() <= DEPTH_MAX {
            let Some((parent, name)) = self.place_of(engine, &above, at).await? else {
                parts.push("(unknown)".to_owned());
                break;
            };
            parts.push(name);
            above = parent;
        }
        parts.reverse();
        Ok(parts.join("/"))
    }

    /// Where a directory was.
    async fn place_of(
        &mut self,
        engine: &Engine,
        entry: &EntryId,
        at: Revision,
    ) -> Result<Option<(EntryId, String)>, AskError> {
        let known = self.stays.entry(*entry).or_default();
        if let Some(stay) = known.iter().find(|stay| stay.from <= at && at <= stay.to) {
            return Ok(Some((stay.parent, stay.name.clone())));
        }
        // The newest place holds until now; a tombstone's is the place that it was deleted at.
        let row = engine.context.state.remote_row(entry)?;
        let stay = match row.filter(|row| row.node.place_revision <= at) {
            Some(row) => Stay {
                from: row.node.place_revision,
                to: Revision::MAX,
                parent: row.node.position.parent,
                name: row.node.position.name.to_string(),
            },
            None => {
                let Some(version) = engine.versions(entry, at, 1).await?.pop() else {
                    return Ok(None);
                };
                let registers = version.registers.and_then(|it| Registers::try_from(it).ok());
                let Some(registers) = registers else { return Ok(None) };
                Stay {
                    from: registers.place_revision,
                    to: at,
                    parent: registers.place.parent,
                    name: name_of(engine, entry, &registers.place.name),
                }
            }
        };
        let found = (stay.parent, stay.name.clone());
        known.push(stay);
        Ok(Some(found))
    }
}

/// A name as it is shown: the reason instead, if it does not open.
pub(super) fn name_of(engine: &Engine, entry: &EntryId, sealed: &[u8]) -> String {
    let (keys, folder) = (&engine.context.keys, &engine.context.folder);
    open_name(keys, folder, entry, sealed)
        .map_or_else(|error| format!("({error})"), |name| name.to_string())
}
