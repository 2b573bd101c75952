//! Trees as tables.
//!
//! Owns how a row is read. A row is `ID KIND synced local remote`; a column is `-` (not there), `x`
//! (deleted at the server, of the remote column only) or `PARENT/NAME:CONTENT`, where the parent is
//! an id, 0 the top and `P` the parking place, and `?` as content stands for bytes that are not
//! hashed yet.

use super::*;

fn column(text: &str) -> Option<(Position, Option<u16>)> {
    let (place, tag) = text.split_once(':')?;
    let (parent, text) = place.split_once('/')?;
    let parent = if parent == "P" { PARKED } else { id(parent.parse().unwrap()) };
    Some((Position { parent, name: name(text) }, tag.parse().ok()))
}

/// The trees of a table's rows.
pub(crate) fn view(rows: &[&str]) -> MemoryView {
    let mut view = MemoryView::default();
    for row in rows {
        let parts: Vec<_> = row.split_whitespace().collect();
        let [number, kind, base, here, there] = parts[..] else { panic!("{row}") };
        let number: u8 = number.parse().unwrap();
        let kind = match kind {
            "dir" => Kind::Directory,
            "file" => Kind::File,
            _ => Kind::Symlink,
        };
        let base = column(base);
        if let Some((position, tag)) = base.clone() {
            view.insert_synced(synced(number, kind, position, tag.unwrap()));
        }
        if let Some((position, tag)) = column(here) {
            let content = tag.map(content);
            // A local node that is of another kind than its entry is told by its content.
            let kind = if tag == Some(0) { Kind::Directory } else { kind };
            view.insert_local(LocalNode { entry: id(number), position, kind, content });
        }
        let place_of =
            |at: &Position| if base.as_ref().is_some_and(|b| b.0 == *at) { 1 } else { 2 };
        if there == "x" {
            let (position, tag) = base.clone().expect("a tombstone of a synced entry");
            let node = remote(number, kind, position, tag.unwrap());
            view.server().insert(RemoteNode { deleted: true, place_revision: 3, ..node });
        } else if let Some((position, tag)) = column(there) {
            let place_revision = place_of(&position);
            let node = remote(number, kind, position, tag.unwrap());
            let same = base.is_some_and(|b| b.1 == tag);
            let content_revision = if same { 1 } else { 2 };
            view.server().insert(RemoteNode { place_revision, content_revision, ..node });
        }
    }
    view
}

/// The local paths with what they hold, in order.
pub(crate) fn listing(view: &MemoryView) -> Vec<String> {
    let mut tags = BTreeMap::new();
    for number in 0..100 {
        tags.insert(content(number).tag, number);
    }
    let mut lines: Vec<_> = local_paths(view)
        .into_iter()
        .map(|(path, (kind, tag))| match kind {
            Kind::Directory => format!("{path}/"),
            _ => format!("{path}={}", tag.and_then(|tag| tags.get(&tag).copied()).unwrap_or(99)),
        })
        .collect();
    lines.sort();
    lines
}
