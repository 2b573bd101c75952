//! History: every version is kept, and the folder can be seen as of any revision.

use crate::world::{World, create, delete, directory, edit, entry, file, move_to, revive};
use common::ids::EntryId;
use common::record::Kind;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{RegisterReads, query};

#[test]
fn s10_every_version_of_place_and_content_is_kept_with_author_and_time() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a"), directory(2, "d")]);
    world.now_ms += 10;
    let edited = world.accept(1, vec![edit(1, made, 5)]);
    let moved = world.accept(0, vec![move_to(1, made, entry(2), "b")]);
    let both = world.accept(1, vec![edit(1, edited, 6), move_to(1, moved, EntryId::ROOT, "c")]);
    let gone = world.accept(0, vec![delete(1, both, both)]);
    let back = world.accept(0, vec![revive(1, gone, EntryId::ROOT, "a")]);
    let (rows, more) =
        query::versions(&world.store, &world.folder, &entry(1), u64::MAX, 100).unwrap();
    assert!(!more);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            let name = String::from_utf8(row.registers.place.name.clone()).unwrap();
            let tag = row.registers.content.tag.as_bytes()[0];
            (row.revision, row.place_changed, row.content_changed, row.deleted, name, tag)
        })
        .collect();
    let expected = [
        (back, true, false, false, "a", 6),
        (gone, true, false, true, "c", 6),
        (both, true, true, false, "c", 6),
        (moved, true, false, false, "b", 5),
        (edited, false, true, false, "a", 5),
        (made, true, true, false, "a", 1),
    ]
    .map(|(at, place, content, gone, name, tag)| (at, place, content, gone, name.to_owned(), tag));
    assert_eq!(seen, expected);
    assert_eq!(rows[4].device, world.device(1));
    assert_eq!(rows[4].time_ms, rows[5].time_ms + 10);
    // In pages: the same rows.
    let mut paged = Vec::new();
    let mut at = u64::MAX;
    loop {
        let (page, more) = query::versions(&world.store, &world.folder, &entry(1), at, 2).unwrap();
        at = page.last().unwrap().revision - 1;
        paged.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(paged, rows);
    let none = query::versions(&world.store, &world.folder, &entry(9), u64::MAX, 5).unwrap();
    assert_eq!(none, (vec![], false));
}

#[test]
fn a_snapshot_as_of_a_revision_stays_what_it_was() {
    let mut world = World::new(MemoryStore::new());
    let mut digests = Vec::new();
    let made = world
        .accept(0, vec![directory(1, "d"), create(2, Kind::File, entry(1), "f"), file(3, "g")]);
    digests.push(world.digest());
    let edited = world.accept(0, vec![edit(2, made, 7)]);
    digests.push(world.digest());
    world.accept(0, vec![delete(2, made, edited), delete(1, made, made)]);
    digests.push(world.digest());
    world.accept(0, vec![move_to(3, made, EntryId::ROOT, "h")]);
    digests.push(world.digest());
    for (at, digest) in &digests {
        let now = query::register_digest(&world.store, &world.folder, *at).unwrap();
        assert_eq!(now, *digest, "as of {at}");
    }
    let (page, next) = query::snapshot_page(&world.store, &world.folder, edited, None, 2).unwrap();
    assert_eq!(page.iter().map(|row| row.entry).collect::<Vec<_>>(), vec![entry(1), entry(2)]);
    assert_eq!(next, Some(entry(2)));
    let (page, next) =
        query::snapshot_page(&world.store, &world.folder, edited, next.as_ref(), 2).unwrap();
    assert_eq!(page[0].place.name, b"g");
    assert_eq!(next, None);
    let empty = query::snapshot_page(&world.store, &world.folder, 0, None, 10).unwrap();
    assert_eq!(empty, (vec![], None));
    assert_eq!(world.store.entries(&world.folder, None, 10).unwrap().len(), 3);
}

#[test]
fn s10_a_timeline_tells_what_was_where_and_what_was_below_a_directory() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(
        0,
        vec![directory(1, "d"), directory(2, "e"), create(3, Kind::File, entry(1), "f")],
    );
    world.now_ms += 10;
    let edited = world.accept(1, vec![edit(3, made, 7)]);
    let moved = world.accept(0, vec![move_to(3, made, entry(2), "g")]);
    world.now_ms += 10;
    let renamed = world.accept(0, vec![move_to(2, made, EntryId::ROOT, "h")]);
    let gone = world.accept(0, vec![delete(3, moved, edited)]);
    let back = world.accept(0, vec![revive(3, gone, entry(1), "f")]);
    let timeline = |below: Option<EntryId>| {
        let (mut rows, mut next) = (Vec::new(), Some((u64::MAX, None)));
        while let Some(from) = next {
            let (page, on) =
                query::timeline_page(&world.store, &world.folder, from, below.as_ref(), 2).unwrap();
            rows.extend(page);
            next = on;
        }
        rows
    };
    let told = |below| {
        let rows = timeline(below).into_iter();
        rows.map(|row| (row.revision, row.registers.entry)).collect::<Vec<_>>()
    };
    let all = [
        (back, entry(3)),
        (gone, entry(3)),
        (renamed, entry(2)),
        (moved, entry(3)),
        (edited, entry(3)),
        (made, entry(1)),
        (made, entry(2)),
        (made, entry(3)),
    ];
    assert_eq!(told(None), all);
    // It was moved out of there, and came back there.
    let below = [(back, 3), (moved, 3), (edited, 3), (made, 1), (made, 3)];
    assert_eq!(told(Some(entry(1))), below.map(|(at, number)| (at, entry(number))));
    let below = [(back, 3), (gone, 3), (renamed, 2), (moved, 3), (made, 2)];
    assert_eq!(told(Some(entry(2))), below.map(|(at, number)| (at, entry(number))));
    let rows = timeline(None);
    let before = |at: usize| rows[at].before.as_ref().map(|it| (it.place.name.clone(), it.deleted));
    assert_eq!(before(0), Some((b"g".to_vec(), true)));
    assert_eq!(before(1), Some((b"g".to_vec(), false)));
    assert_eq!(before(2), Some((b"e".to_vec(), false)));
    assert_eq!(before(3), Some((b"f".to_vec(), false)));
    assert_eq!(before(4), None, "its place is what it was");
    assert_eq!(before(5), None, "it is new");
    let times = [(0, 0), (rows[7].time_ms, made), (rows[4].time_ms, moved), (u64::MAX, back)];
    for (time_ms, at) in times {
        let found = query::revision_at(&world.store, &world.folder, time_ms).unwrap();
        assert_eq!(found, at);
    }
}
