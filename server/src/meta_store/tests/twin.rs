//! Both stores hold the same rows after the same commands.
//!
//! Owns a script that touches every table, random groups, and a reading of everything there is.

use super::model::{Model, step};
use super::world::{
    World, code, conflict, content_at, create, delete, directory, edit, entry, file, genesis,
    member, move_to, place, receipt,
};
use crate::meta_store::schema::{migrate, migrate_to};
use crate::meta_store::sqlite::SqliteStore;
use common::ids::{ChunkId, EntryId, FolderId, LabelId, LookupId, UserId};
use common::record::{
    Change, Earlier, Kind, Registers, Resolution, Retention, Root, Settings, Was,
};
use common::revision::Revision;
use common::trust::{Checkpoint, JoinKind, revoke_record};
use proptest::prelude::*;
use rusqlite::Connection;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, Answer, DeviceState, GroupOutcome, InvitationState, MetaReads, MetaStore, ObjectChange,
    ObjectState, Quota, RegisterReads, query, thinning,
};
use server_core::retention::Whole;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

fn sqlite() -> SqliteStore {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    SqliteStore::new(connection)
}

fn user_dump(reads: &dyn MetaReads, user: &UserId, lookups: &[LookupId]) -> String {
    let mut text = String::new();
    let mut line = |value: &dyn std::fmt::Debug| writeln!(text, "{value:?}").unwrap();
    line(&reads.user(user).unwrap());
    line(&reads.devices(user).unwrap());
    line(&reads.log_records(user, 0, usize::MAX).unwrap());
    line(&reads.log_records(user, 1, 1).unwrap());
    line(&reads.keyring(user).unwrap());
    line(&reads.invitations(Some(user)).unwrap());
    line(&reads.invitations(None).unwrap());
    line(&reads.invitations_expired(u64::MAX, 10).unwrap());
    line(&reads.generation().unwrap());
    line(&reads.all_folders().unwrap());
    for lookup in lookups {
        line(&reads.invitation(lookup).unwrap());
    }
    let folders = reads.folders(user, None, 10).unwrap();
    if let Some((first, _)) = folders.first() {
        line(&reads.folders(user, Some(first), 10).unwrap());
    }
    line(&folders);
    for (device, _) in reads.devices(user).unwrap() {
        line(&reads.device(&device).unwrap());
        for (folder, _) in &folders {
            for (incarnation, _) in reads.windows(folder, &device).unwrap() {
                line(&(incarnation, reads.window(folder, &device, incarnation).unwrap()));
                for counter in 0..80 {
                    let request = common::ids::RequestId { incarnation, counter };
                    line(&reads.outcome(folder, &device, &request).unwrap());
                }
            }
        }
    }
    text
}

fn folder_dump(reads: &dyn MetaReads, user: &UserId) -> String {
    let mut text = String::new();
    let mut line = |value: &dyn std::fmt::Debug| writeln!(text, "{value:?}").unwrap();
    for (folder, state) in reads.folders(user, None, 10).unwrap() {
        line(&reads.lineage(&folder).unwrap());
        line(&reads.positions(&folder).unwrap());
        line(&reads.checkpoint(&folder).unwrap());
        for bytes_soft in [1, 900, usize::MAX] {
            line(&reads.journal(&folder, 1, 5, bytes_soft).unwrap());
        }
        let whole = reads.whole(&folder).unwrap();
        line(&whole);
        line(&reads.labels(&folder).unwrap());
        line(&reads.entries_with_history(&folder, None, 1_000).unwrap());
        line(&reads.entries_with_history(&folder, Some(&entry(2)), 2).unwrap());
        for at in 0..=state.revision + 1 {
            line(&reads.mark(&folder, at).unwrap());
            line(&reads.settings(&folder, at).unwrap());
            if !whole.contains(at) {
                continue;
            }
            line(&query::snapshot_page(reads, &folder, at, None, 1_000).unwrap());
            line(&query::register_digest(reads, &folder, at).unwrap());
            line(&reads.conflicts_open(&folder, at, None, 10).unwrap());
            line(&reads.conflicts_open(&folder, at, Some(&conflict(1)), 10).unwrap());
            line(&past(reads, &folder, at, state.revision));
            line(
                &query::revision_at(
                    reads,
                    &folder,
                    reads.mark(&folder, at).unwrap().map_or(0, |m| m.time_ms),
                )
                .unwrap(),
            );
        }
        // Within a revision the stores have orders of their own.
        let mut timeline = reads.timeline(&folder, u64::MAX, None, 10_000).unwrap();
        assert!(timeline.is_sorted_by_key(|(revision, _)| Reverse(*revision)));
        assert_eq!(paged(reads, &folder), timeline);
        timeline.sort_unstable();
        line(&timeline);
        line(&reads.deleted(&folder, None, 1_000).unwrap());
        line(&reads.deleted(&folder, Some(&entry(2)), 2).unwrap());
        for time_ms in [0, state.time_ms.saturating_sub(1), state.time_ms, u64::MAX] {
            line(&reads.settings_by(&folder, time_ms).unwrap());
        }
        line(&reads.conflict(&folder, &conflict(1)).unwrap());
        line(&reads.entries(&folder, Some(&entry(2)), 3).unwrap());
        line(&entries_dump(reads, &folder));
        line(&objects_dump(reads, &folder));
    }
    text
}

/// Each entry and its history.
fn entries_dump(reads: &dyn MetaReads, folder: &FolderId) -> String {
    let mut text = String::new();
    let mut line = |value: &dyn std::fmt::Debug| writeln!(text, "{value:?}").unwrap();
    let whole = reads.whole(folder).unwrap();
    for (id, _) in reads.entries(folder, None, 1_000).unwrap() {
        let state = reads.entry(folder, &id).unwrap();
        line(&state);
        line(&query::versions(reads, folder, &id, u64::MAX, 3).unwrap());
        line(&reads.places(folder, &id, u64::MAX, 100).unwrap());
        line(&reads.contents(folder, &id, u64::MAX, 100).unwrap());
        line(&reads.conflicts_naming(folder, &id).unwrap());
        line(&reads.version_marks(folder, &id).unwrap());
        line(&thinning::releasable(reads, folder, &id, &whole).unwrap());
        let named = state.map(|state| reads.named(folder, &state.parent, &state.name_tag));
        line(&named.transpose().unwrap());
        let mut children = reads.children(folder, &id, 100).unwrap();
        children.sort_unstable();
        line(&children);
        for at in 0..=reads.folder(folder).unwrap().unwrap().revision {
            line(&reads.closings(folder, &id, at, 10).unwrap());
            line(&reads.closings(folder, &id, at, 1).unwrap());
        }
        for place in reads.places(folder, &id, u64::MAX, 100).unwrap() {
            let (parent, tag) = (place.place.parent, place.place.name_tag);
            line(&reads.named_ever(folder, &parent, &tag, 10).unwrap());
        }
    }
    text
}

/// What the garbage collection reads.
fn objects_dump(reads: &dyn MetaReads, folder: &FolderId) -> String {
    let mut text = String::new();
    let mut line = |value: &dyn std::fmt::Debug| writeln!(text, "{value:?}").unwrap();
    let mut after = None;
    loop {
        let roots = reads.roots(folder, after.as_ref(), 2).unwrap();
        line(&roots);
        let Some((last, _)) = roots.last() else { break };
        after = Some(*last);
    }
    let objects = reads.objects(folder, None, 2).unwrap();
    line(&reads.objects(folder, objects.last().map(|(id, _)| id), 100).unwrap());
    line(&objects);
    for number in 0..5_u8 {
        line(&reads.object(folder, &ChunkId::of(&[number])).unwrap());
    }
    text
}

/// What entries were, found by their changes and by a look at all entries: the same. The stores have
/// orders of their own.
fn past(reads: &dyn MetaReads, folder: &FolderId, at: Revision, last: Revision) -> Vec<Earlier> {
    if !reads.whole(folder).unwrap().contains(at) {
        return Vec::new();
    }
    let (few, _) = query::past_page(reads, folder, (at, last), None, 10_000).unwrap();
    let (mut all, _) = query::past_page(reads, folder, (at, u64::MAX), None, 10_000).unwrap();
    assert_eq!(few, all, "as of {at}");
    let (first, next) = query::past_page(reads, folder, (at, last), None, 2).unwrap();
    let rest = next.map(|next| query::past_page(reads, folder, (at, last), Some(&next), 10_000));
    let rest = rest.map_or_else(Vec::new, |rest| rest.unwrap().0);
    assert_eq!([first, rest].concat(), all, "as of {at}, in pages");
    // Over what was there at any later moment it makes what was there then.
    let snapshot = |at| query::snapshot_page(reads, folder, at, None, 10_000).unwrap().0;
    for known in at..=last {
        if !reads.whole(folder).unwrap().contains(known) {
            continue;
        }
        let later = snapshot(known).into_iter().map(|registers| (registers.entry, registers));
        let (told, _) = query::past_page(reads, folder, (at, known), None, 10_000).unwrap();
        let then = taken_back(later.collect(), &told);
        assert_eq!(then.into_values().collect::<Vec<_>>(), snapshot(at), "{at} from {known}");
    }
    all.sort_unstable_by_key(|earlier| earlier.entry);
    all
}

fn taken_back(
    mut then: BTreeMap<EntryId, Registers>,
    told: &[Earlier],
) -> BTreeMap<EntryId, Registers> {
    for Earlier { entry, was } in told.iter().cloned() {
        let Some(Was { kind, place, content }) = was else {
            then.remove(&entry);
            continue;
        };
        let later = then.remove(&entry);
        let later_place = later.as_ref().map(|it| (it.place_revision, it.place.clone()));
        let later_content = later.map(|it| (it.content_revision, it.content));
        let (place_revision, place) = place.or(later_place).unwrap();
        let (content_revision, content) = content.or(later_content).unwrap();
        let registers = Registers { entry, kind, place_revision, place, content_revision, content };
        then.insert(entry, registers);
    }
    then
}

/// The whole timeline, in pages that end within revisions.
fn paged(reads: &dyn MetaReads, folder: &FolderId) -> Vec<(Revision, EntryId)> {
    let (mut found, mut from) = (Vec::new(), (u64::MAX, None));
    loop {
        let page = reads.timeline(folder, from.0, from.1.as_ref(), 3).unwrap();
        let Some((revision, entry)) = page.last() else { return found };
        from = (*revision, Some(*entry));
        found.extend(page);
    }
}

fn label_id(number: u8) -> LabelId {
    LabelId::from_bytes([number; 16])
}

fn label(number: u8, at: u64) -> Change {
    Change::AddLabel { label: label_id(number), at, name: vec![number] }
}

/// Releases all that these moments and the last do not show.
fn thin<S: MetaStore>(world: &mut World<S>, kept: BTreeSet<u64>) {
    let folder = world.folder;
    let (horizon, _) = world.digest();
    let standing = world.store.settings(&folder, horizon).unwrap();
    let settings = standing.map_or(0, |standing| standing.revision);
    let whole = Whole { horizon, kept };
    world.done(Action::MoveHorizon { folder, settings, whole });
    let entries = world.store.entries_with_history(&folder, None, 1_000).unwrap();
    let released = world.apply(Action::Release { folder, entries }).answer;
    assert!(matches!(released, Ok(Answer::Released { .. })), "{released:?}");
}

fn dump<S: MetaStore>(world: &World<S>, lookups: &[LookupId]) -> String {
    user_dump(&world.store, &world.user, lookups) + &folder_dump(&world.store, &world.user)
}

/// Commands that touch every table; gives all outcomes.
fn script<S: MetaStore>(store: S) -> (World<S>, Vec<GroupOutcome>) {
    let mut world = World::pair(store);
    let mut outcomes = Vec::new();
    let one = world.device(0);
    world.done(Action::PutKeyring { device: one, version: 1, sealed: vec![1, 2, 3] });
    let quota = Quota { bytes_max: 1_000, ..Quota::UNLIMITED };
    let user = world.user;
    world.done(Action::SetQuota { user, quota });
    let record = world.invitation(7);
    world.done(Action::OpenInvitation { device: one, record, blob: vec![7] });
    let lookup = code(JoinKind::Bootstrap, 9).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup, expires_ms });
    let base = world.accept(0, vec![directory(2, "d"), create(3, Kind::File, entry(2), "f")]);
    for (number, length) in [(1_u8, 600), (2, 600), (3, 300)] {
        let id = ChunkId::of(&[number]);
        let change = Change::Create {
            entry: entry(10 + number),
            kind: Kind::File,
            place: place(EntryId::ROOT, &number.to_string()),
            content: content_at(number, Root { id, level: 0 }),
        };
        let group = world.group(1, vec![change]);
        let signed = world.sign(1, &group);
        outcomes.extend(world.send(1, vec![signed], &[], BTreeMap::from([(id, receipt(length))])));
    }
    outcomes.push(world.commit(1, vec![edit(3, base, 31), edit(3, base, 32)]));
    let open = Change::OpenConflict {
        conflict: conflict(1),
        entry: entry(3),
        base: Some(base),
        theirs: world.state(3).content_revision,
        copy: entry(20),
    };
    outcomes.push(world.commit(1, vec![file(20, "copy"), open]));
    outcomes.push(world.commit(1, vec![label(1, base), label(2, base + 1)]));
    let settings = Settings { retention: Retention::EVERYTHING, sealed: vec![1] };
    outcomes.push(world.commit(1, vec![Change::SetSettings { base: 0, settings }]));
    outcomes.push(world.commit(0, vec![Change::RemoveLabel { label: label_id(2) }]));
    let resolve =
        Change::ResolveConflict { conflict: conflict(1), resolution: Resolution::KeepBoth };
    outcomes.push(world.commit(0, vec![resolve]));
    outcomes.push(world.commit(0, vec![delete(2, base, base)]));
    let cursor = world.store.folder(&world.folder).unwrap().unwrap().cursor();
    let digest = world.digest().1;
    let checkpoint = Checkpoint { folder: world.folder, cursor, digest, device: one };
    let checkpoint = checkpoint.sign(&world.members[0].keys.signing);
    world.done(Action::PutCheckpoint { device: one, checkpoint });
    world.done(Action::SeeDevices { seen: vec![(one, world.now_ms)] });
    let positions = vec![(world.folder, one, 2), (world.folder, world.device(1), 1 << 40)];
    world.done(Action::NotePositions { positions });
    world.done(Action::BeginGeneration { generation: 3 });
    thin(&mut world, [base].into());
    let changes = vec![
        ObjectChange::Condemn(ChunkId::of(&[1])),
        ObjectChange::Condemn(ChunkId::of(&[99])),
        ObjectChange::Reinstate(ChunkId::of(&[4]), ObjectState { level: 2, length: 9 }),
        ObjectChange::Demote(ChunkId::of(&[4])),
    ];
    world.done(Action::ChangeObjects { folder: world.folder, changes });
    let signer = &world.members[0].keys.signing;
    let record = revoke_record(&world.log(), signer, &world.device(1), None, 1).unwrap();
    world.done(Action::AppendLog { device: one, record });
    let (_, genesis) = world.folder_genesis(0, 2);
    world.done(Action::CreateFolder { device: one, genesis });
    (world, outcomes)
}

#[test]
fn m5_both_stores_hold_the_same_after_every_kind_of_command() {
    let lookups = [code(JoinKind::Device, 7).lookup(), code(JoinKind::Bootstrap, 9).lookup()];
    let (mut memory, one) = script(MemoryStore::new());
    let (mut sqlite, two) = script(sqlite());
    assert_eq!(one, two);
    assert!(one.iter().any(|outcome| outcome.rejection().is_some()));
    assert_eq!(dump(&memory, &lookups), dump(&sqlite, &lookups));
    memory.done(Action::BeginEpoch);
    sqlite.done(Action::BeginEpoch);
    assert_eq!(dump(&memory, &lookups), dump(&sqlite, &lookups));
}

/// Places hang on the row of their entry: replacing that row, where it should be updated, loses
/// them, and then nothing can be moved or deleted any more.
#[test]
fn an_entry_keeps_its_places_over_edits_and_moves_and_can_then_be_deleted() {
    fn check<S: MetaStore>(store: S) {
        let mut world = World::pair(store);
        let made = world.accept(0, vec![directory(1, "d"), file(2, "f")]);
        let edited = world.accept(0, vec![edit(2, made, 21)]);
        let moved = world.accept(1, vec![move_to(2, made, entry(1), "g")]);
        let edited_again = world.accept(1, vec![edit(2, edited, 22)]);
        let places = |world: &World<S>| {
            let places = world.store.places(&world.folder, &entry(2), u64::MAX, 10).unwrap();
            places.into_iter().map(|p| (p.revision, p.place, p.deleted)).collect::<Vec<_>>()
        };
        let before = (made, place(EntryId::ROOT, "f"), false);
        let after = (moved, place(entry(1), "g"), false);
        assert_eq!(places(&world), [after.clone(), before.clone()]);
        let deleted = world.accept(0, vec![delete(2, moved, edited_again)]);
        let gone = (deleted, place(entry(1), "g"), true);
        assert_eq!(places(&world), [gone, after, before]);
        assert_eq!(world.tree().len(), 1);
    }
    check(MemoryStore::new());
    check(sqlite());
}

/// A database of before there was a timeline gets one of all that happened in it.
#[test]
fn what_happened_before_there_was_a_timeline_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("now");
    let mut connection = Connection::open(&path).unwrap();
    migrate(&mut connection).unwrap();
    let (world, _) = script(SqliteStore::new(connection));
    let timeline =
        |store: &SqliteStore| store.timeline(&world.folder, u64::MAX, None, 10_000).unwrap();
    let expected = timeline(&world.store);
    assert!(expected.len() > 5);
    let mut old = Connection::open_in_memory().unwrap();
    migrate_to(&mut old, 2).unwrap();
    old.execute("ATTACH ?1 AS now", [path.to_str().unwrap()]).unwrap();
    for table in ["folders", "entries", "places", "contents", "conflicts"] {
        let sql = format!("SELECT group_concat(name) FROM pragma_table_info('{table}', 'main')");
        let columns: String = old.query_row(&sql, [], |row| row.get(0)).unwrap();
        let copy =
            format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}");
        old.execute(&copy, []).unwrap();
    }
    old.execute("DETACH now", []).unwrap();
    migrate(&mut old).unwrap();
    assert_eq!(timeline(&SqliteStore::new(old)), expected);
}

#[test]
fn a_savepoint_undoes_what_was_written_since() {
    fn check<S: MetaStore>(store: S) {
        let mut world = World::new(store);
        let before = dump(&world, &[]);
        let invitation = InvitationState { user: None, expires_ms: 5, blob: vec![1] };
        let lookup = code(JoinKind::Share, 1).lookup();
        world.store.savepoint().unwrap();
        world.store.put_invitation(&lookup, &invitation).unwrap();
        world.store.set_quota(&world.user, &Quota { bytes_max: 1, ..Quota::UNLIMITED }).unwrap();
        let device = member(9).keys.device();
        let state = DeviceState {
            user: world.user,
            position: 4,
            revoked: true,
            revoked_ms: Some(3),
            seen_ms: Some(4),
        };
        world.store.put_device(&device, &state).unwrap();
        assert_eq!(world.store.device(&device).unwrap(), Some(state));
        world.store.rollback().unwrap();
        assert_eq!(dump(&world, &[]), before);
        assert_eq!(world.store.invitation(&lookup).unwrap(), None);
        world.store.savepoint().unwrap();
        world.store.put_invitation(&lookup, &invitation).unwrap();
        world.store.release().unwrap();
        assert_eq!(world.store.invitation(&lookup).unwrap(), Some(invitation));
    }
    check(MemoryStore::new());
    check(sqlite());
}

#[test]
fn numbers_at_the_end_of_their_range_are_kept() {
    let mut world = World::new(sqlite());
    world.members[0].incarnation = u64::MAX;
    world.members[0].counter = (1 << 62) - 1;
    world.accept(0, vec![file(1, "f")]);
    let mut beyond = world.group(0, vec![file(2, "g")]);
    beyond.request.counter = u64::MAX;
    assert!(world.send_one(0, &beyond).rejection().is_some());
    assert_ne!(genesis(1), genesis(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn m5_random_groups_have_equal_outcomes_and_digests_on_both_stores(
        groups in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..20)
    ) {
        let mut memory = World::new(MemoryStore::new());
        let mut sqlite = World::new(sqlite());
        let mut model = Model::default();
        for steps in &groups {
            let changes: Vec<_> = steps.iter().map(|step| model.change(step)).collect();
            let (revision, _) = memory.digest();
            if let Some(next) = model.after(steps, revision + 1) {
                model = next;
            }
            prop_assert_eq!(memory.commit(0, changes.clone()), sqlite.commit(0, changes));
        }
        prop_assert_eq!(dump(&memory, &[]), dump(&sqlite, &[]));
        prop_assert_eq!(memory.tree().len(), model.live().len());
        let kept: BTreeSet<u64> = groups.iter().map(|group| group.len() as u64 * 3).collect();
        thin(&mut memory, kept.clone());
        thin(&mut sqlite, kept);
        prop_assert_eq!(dump(&memory, &[]), dump(&sqlite, &[]));
    }
}
