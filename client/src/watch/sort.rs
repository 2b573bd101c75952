//! From an event to hints.
//!
//! Owns a pure function: which events matter and what they point at.

use super::Hint;
use crate::fs::RelPath;
use common::name::{Name, NameError, PRIVATE_DIRECTORY, fold};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What is to be done about one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// Where to look.
    pub(super) hints: Vec<Hint>,
    /// What has newly appeared and may be a directory without a watch.
    pub(super) appeared: Vec<PathBuf>,
    /// Events were lost or the root itself went: look everywhere, watch all.
    pub(super) lost: bool,
}

/// Where a path of an event lies.
enum Lies {
    /// In `.driftless`, or not below the root at all.
    Elsewhere,
    /// At the root.
    Root,
    /// Here.
    At(RelPath),
    /// At a name that cannot be synced: this directory holds it.
    In(RelPath),
}

/// Sorts an event of a root's watches.
pub(super) fn sort(event: &Event, root: &Path) -> Sorted {
    let mut sorted = Sorted::default();
    // A write through a mapping shows in nothing but the close of its writer.
    let writer_closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && event.kind != writer_closed {
        return sorted;
    }
    if event.need_rescan() || event.paths.is_empty() {
        sorted.lost = true;
        return sorted;
    }
    for path in &event.paths {
        match lies(path, root) {
            Lies::Elsewhere => {}
            Lies::Root => match event.kind {
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => sorted.lost = true,
                _ => sorted.hints.push(Hint::Path(RelPath::root())),
            },
            Lies::In(directory) => sorted.hints.push(Hint::Path(directory)),
            Lies::At(place) => {
                sorted.hints.push(Hint::Path(place));
                if may_be_new_directory(event.kind) {
                    sorted.appeared.push(path.clone());
                }
            }
        }
    }
    sorted
}

/// Also true when the system does not say: the path is looked at anyway.
fn may_be_new_directory(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(kind) => kind != CreateKind::File,
        EventKind::Modify(ModifyKind::Name(mode)) => mode != RenameMode::From,
        EventKind::Any | EventKind::Other => true,
        EventKind::Access(_) | EventKind::Modify(_) | EventKind::Remove(_) => false,
    }
}

fn lies(path: &Path, root: &Path) -> Lies {
    let Ok(below) = path.strip_prefix(root) else {
        return Lies::Elsewhere;
    };
    let mut place = RelPath::root();
    for (depth, component) in below.components().enumerate() {
        let Component::Normal(name) = component else {
            return Lies::Elsewhere;
        };
        let name = match Name::from_bytes(name.as_bytes()) {
            Ok(name) => name,
            Err(NameError::Private) if depth == 0 && is_private(name.as_bytes()) => {
                return Lies::Elsewhere;
            }
            Err(_) => return Lies::In(place),
        };
        place = match place.join(&name) {
            Ok(next) => next,
            Err(_) => return Lies::In(place),
        };
    }
    if place.is_root() { Lies::Root } else { Lies::At(place) }
}

/// Whether a name in the root is that of Driftless' own directory.
pub(super) fn is_private(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| fold(name) == PRIVATE_DIRECTORY)
}

/// The path below the root, if it can be synced.
pub(super) fn place_of(path: &Path, root: &Path) -> Option<RelPath> {
    match lies(path, root) {
        Lies::At(place) => Some(place),
        Lies::Root => Some(RelPath::root()),
        Lies::Elsewhere | Lies::In(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::contract::path;
    use notify::event::{DataChange, Flag, MetadataKind, RemoveKind};

    fn event(kind: EventKind, paths: &[&str]) -> Event {
        paths.iter().fold(Event::new(kind), |event, path| event.add_path(PathBuf::from(path)))
    }

    fn check(kind: EventKind, paths: &[&str], hints: &[Hint], appeared: &[&str]) {
        let sorted = sort(&event(kind, paths), Path::new("/r"));
        let appeared: Vec<PathBuf> = appeared.iter().map(PathBuf::from).collect();
        let expected = Sorted { hints: hints.to_vec(), appeared, lost: false };
        assert_eq!(sorted, expected, "{kind:?} {paths:?}");
    }

    fn lost(event: &Event) -> bool {
        sort(event, Path::new("/r")) == Sorted { lost: true, ..Sorted::default() }
    }

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const BOTH: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::Both));

    #[test]
    fn what_reading_causes_is_dropped() {
        check(EventKind::Access(AccessKind::Open(AccessMode::Any)), &["/r/a"], &[], &[]);
        check(EventKind::Access(AccessKind::Close(AccessMode::Read)), &["/r/a"], &[], &[]);
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        check(closed, &["/r/a"], &[Hint::Path(path("a"))], &[]);
    }

    #[test]
    fn each_change_says_where_to_look() {
        let at = |text| Hint::Path(path(text));
        check(WRITTEN, &["/r/a/b"], &[at("a/b")], &[]);
        check(
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            &["/r/a"],
            &[at("a")],
            &[],
        );
        check(EventKind::Create(CreateKind::File), &["/r/a"], &[at("a")], &[]);
        check(EventKind::Create(CreateKind::Folder), &["/r/d"], &[at("d")], &["/r/d"]);
        check(EventKind::Remove(RemoveKind::Folder), &["/r/d"], &[at("d")], &[]);
        check(FROM, &["/r/d"], &[at("d")], &[]);
        check(TO, &["/r/d"], &[at("d")], &["/r/d"]);
        check(BOTH, &["/r/a", "/r/b"], &[at("a"), at("b")], &["/r/a", "/r/b"]);
        check(WRITTEN, &["/r"], &[at("")], &[]);
    }

    #[test]
    fn our_own_directory_and_the_outside_are_dropped() {
        for outside in ["/r/.driftless", "/r/.driftless/staging/x", "/elsewhere", "/r2/a"] {
            check(EventKind::Create(CreateKind::Any), &[outside], &[], &[]);
        }
    }

    #[test]
    fn a_name_that_cannot_be_synced_points_at_its_directory() {
        check(WRITTEN, &["/r/d/a\\b"], &[Hint::Path(path("d"))], &[]);
        check(WRITTEN, &["/r/d/.driftless/x"], &[Hint::Path(path("d"))], &[]);
    }

    #[test]
    fn a_lost_event_or_root_means_everything() {
        assert!(lost(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(lost(&event(WRITTEN, &["/r/a"]).set_flag(Flag::Rescan)), "tested before paths");
        assert!(lost(&Event::new(EventKind::Any)));
        assert!(lost(&event(EventKind::Remove(RemoveKind::Folder), &["/r"])));
        assert!(lost(&event(FROM, &["/r"])));
    }
}
