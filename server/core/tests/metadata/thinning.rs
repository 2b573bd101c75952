//! Thinning against a folder that is never thinned: random histories, retentions, labels, conflicts
//! and checkpoints; then named cases of what comes back after its content was released.
//!
//! The oracle goes through every revision one by one. It must not know intervals.

use crate::labels::{add, label, set};
use crate::world::{World, conflict, create, delete, edit, entry, file, move_to, revive};
use common::ids::EntryId;
use common::record::{Change, Registers, Resolution, Retention};
use common::revision::Revision;
use common::trust::Checkpoint;
use common::wire::meta::RejectionCode as Code;
use proptest::prelude::*;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, Answer, ContentVersion, FolderReads, GroupOutcome, JournalReads, PlaceVersion,
    RegisterReads, RetentionReads, TreeReads, UserReads, VersionRow, query, thinning,
};
use server_core::retention::Whole;
use std::collections::BTreeSet;

const FILE: common::record::Kind = common::record::Kind::File;
const DIRECTORY: common::record::Kind = common::record::Kind::Directory;
const DAY_MS: u64 = 24 * 3600 * 1000;
const ALL: usize = usize::MAX >> 1;

type Thin = World<MemoryStore>;

fn whole(world: &Thin) -> Whole {
    world.store.whole(&world.folder).unwrap()
}

fn last(world: &Thin) -> Revision {
    world.store.folder(&world.folder).unwrap().unwrap().revision
}

/// Thins as the service does; returns how many versions went.
fn thin(world: &mut Thin, grace_ms: u64) -> u64 {
    let folder = world.folder;
    let planned = thinning::planned(&world.store, &folder, world.now_ms, grace_ms);
    let planned = planned.unwrap().unwrap();
    let action =
        Action::MoveHorizon { folder, settings: planned.settings, whole: planned.whole.clone() };
    world.done(action);
    assert_eq!(whole(world), planned.whole);
    let (entries, next) =
        thinning::entries_to_release(&world.store, &folder, &whole(world), None, ALL).unwrap();
    assert_eq!(next, None);
    let foreseen = thinning::foreseen(&world.store, &folder, &whole(world)).unwrap();
    let entries = entries.into_iter().map(|(entry, _)| entry).collect();
    let Ok(Answer::Released { versions }) = world.apply(Action::Release { folder, entries }).answer
    else {
        panic!("a release is answered by a number")
    };
    assert_eq!(versions, foreseen.versions);
    versions
}

fn places(world: &Thin, id: &EntryId) -> Vec<PlaceVersion> {
    world.store.places(&world.folder, id, u64::MAX >> 1, ALL).unwrap()
}

fn contents(world: &Thin, id: &EntryId) -> Vec<ContentVersion> {
    world.store.contents(&world.folder, id, u64::MAX >> 1, ALL).unwrap()
}

fn snapshot(world: &Thin, at: Revision) -> Vec<Registers> {
    query::snapshot_page(&world.store, &world.folder, at, None, ALL).unwrap().0
}

fn versions(world: &Thin, id: &EntryId) -> Vec<VersionRow> {
    query::versions(&world.store, &world.folder, id, u64::MAX >> 1, 1_000).unwrap().0
}

/// A kind of change.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Create { directory: bool },
    Edit,
    Move,
    Delete,
    Revive { edited: bool },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => prop::bool::weighted(0.2).prop_map(|directory| Kind::Create { directory }),
        5 => Just(Kind::Edit),
        4 => Just(Kind::Move),
        3 => Just(Kind::Delete),
        2 => any::<bool>().prop_map(|edited| Kind::Revive { edited }),
    ]
}

/// What happens between two looks.
#[derive(Clone, Debug)]
enum Act {
    /// Changes of entries that are picked among those that there are.
    Commit(Vec<(Kind, usize)>),
    Wait(u64),
    Thin,
    Label {
        number: u16,
        back: u64,
    },
    Unlabel {
        number: u16,
    },
    Set {
        keep_all: u64,
        daily: u64,
        monthly: u64,
    },
    Open {
        number: u8,
        entry: u8,
        copy: u8,
    },
    Resolve {
        number: u8,
    },
    Checkpoint,
}

fn act() -> impl Strategy<Value = Act> {
    let wait = prop_oneof![Just(1), Just(3_600_000), Just(DAY_MS), Just(11 * DAY_MS)];
    let window =
        prop_oneof![Just(0), Just(DAY_MS / 2), Just(3 * DAY_MS), Just(40 * DAY_MS), Just(u64::MAX)];
    prop_oneof![
        12 => prop::collection::vec((kind(), any::<usize>()), 1..4).prop_map(Act::Commit),
        5 => wait.prop_map(Act::Wait),
        2 => Just(Act::Thin),
        1 => (1..4_u16, 0..9_u64).prop_map(|(number, back)| Act::Label { number, back }),
        1 => (1..4_u16).prop_map(|number| Act::Unlabel { number }),
        2 => (window.clone(), window.clone(), window)
            .prop_map(|(keep_all, daily, monthly)| Act::Set { keep_all, daily, monthly }),
        1 => (1..4_u8, 0..6_u8, 0..6_u8)
            .prop_map(|(number, entry, copy)| Act::Open { number, entry, copy }),
        1 => (1..4_u8).prop_map(|number| Act::Resolve { number }),
        1 => Just(Act::Checkpoint),
    ]
}

/// The same folder twice: one is thinned.
struct Twins {
    thinned: Thin,
    full: Thin,
    /// Makes each name and content another.
    made: u8,
}

impl Twins {
    fn act(&mut self, act: &Act) {
        let last = last(&self.thinned);
        let standing = self.thinned.store.settings(&self.thinned.folder, last).unwrap();
        match act {
            Act::Commit(picked) => {
                let changes = self.changes(picked);
                if !changes.is_empty() {
                    self.commit(changes);
                }
            }
            Act::Wait(ms) => {
                self.thinned.now_ms += ms;
                self.full.now_ms += ms;
            }
            Act::Thin => {
                let before = whole(&self.thinned);
                thin(&mut self.thinned, 0);
                self.check(&before);
            }
            Act::Label { number, back } => {
                self.commit(vec![add(*number, last.saturating_sub(*back))]);
            }
            Act::Unlabel { number } => {
                self.commit(vec![Change::RemoveLabel { label: label(*number) }]);
            }
            Act::Set { keep_all, daily, monthly } => {
                let Change::SetSettings { base, mut settings } =
                    set(standing.map_or(0, |it| it.revision), *keep_all)
                else {
                    return;
                };
                settings.retention.daily_ms = *daily;
                settings.retention.monthly_ms = *monthly;
                self.commit(vec![Change::SetSettings { base, settings }]);
            }
            Act::Open { number, entry: id, copy } => {
                let state = self.full.store.entry(&self.full.folder, &entry(*id)).unwrap();
                let theirs = state.map_or(1, |state| state.content_revision);
                let older = contents(&self.full, &entry(*id)).get(1).map(|it| it.revision);
                self.commit(vec![Change::OpenConflict {
                    conflict: conflict(*number),
                    entry: entry(*id),
                    base: older,
                    theirs,
                    copy: entry(*copy),
                }]);
            }
            Act::Resolve { number } => {
                let conflict = conflict(*number);
                let resolution = Resolution::KeepBoth;
                self.commit(vec![Change::ResolveConflict { conflict, resolution }]);
            }
            Act::Checkpoint => {
                for world in [&mut self.thinned, &mut self.full] {
                    let cursor = world.store.folder(&world.folder).unwrap().unwrap().cursor();
                    let (digest, device) = (world.digest().1, world.device(0));
                    let checkpoint = Checkpoint { folder: world.folder, cursor, digest, device };
                    let checkpoint = checkpoint.sign(&world.members[0].keys.signing);
                    world.done(Action::PutCheckpoint { device, checkpoint });
                }
            }
        }
    }

    /// Changes that may be made now, of another entry each.
    fn changes(&mut self, picked: &[(Kind, usize)]) -> Vec<Change> {
        let (mut changes, mut used) = (Vec::new(), BTreeSet::new());
        let number_of = |id: &EntryId| id.as_bytes()[0];
        for (kind, pick) in picked {
            let (store, folder) = (&self.full.store, &self.full.folder);
            let all = store.entries(folder, None, ALL).unwrap();
            let states = all.iter().map(|(id, _)| (*id, store.entry(folder, id).unwrap().unwrap()));
            let of_deleted = matches!(kind, Kind::Revive { .. });
            let fitting = states.filter(|(id, state)| {
                state.deleted == of_deleted
                    && !used.contains(id)
                    && (!matches!(kind, Kind::Edit) || state.kind == FILE)
            });
            let fitting: Vec<_> = fitting.collect();
            self.made = self.made.wrapping_add(1);
            let name = self.made.to_string();
            if let Kind::Create { directory } = kind {
                let number = u8::try_from(all.len() + used.len() + 1).unwrap();
                if number < 9 {
                    let kind = if *directory { DIRECTORY } else { FILE };
                    changes.push(create(number, kind, EntryId::ROOT, &name));
                    used.insert(entry(number));
                }
                continue;
            }
            if fitting.is_empty() {
                continue;
            }
            let (id, state) = &fitting[pick % fitting.len()];
            let (number, place, content) =
                (number_of(id), state.place_revision, state.content_revision);
            used.insert(*id);
            match kind {
                Kind::Edit => changes.push(edit(number, content, self.made)),
                Kind::Move => changes.push(move_to(number, place, EntryId::ROOT, &name)),
                Kind::Delete => changes.push(delete(number, place, content)),
                Kind::Revive { edited } => {
                    changes.push(revive(number, place, EntryId::ROOT, &name));
                    if *edited && state.kind == FILE {
                        changes.push(edit(number, content, self.made));
                    }
                }
                Kind::Create { .. } => {}
            }
        }
        changes
    }

    /// Commits to both, but what the thinned one refuses for what it has released to that alone.
    fn commit(&mut self, changes: Vec<Change>) -> Option<Revision> {
        let outcome = self.thinned.commit(0, changes.clone());
        match outcome.rejection() {
            Some(Code::ContentReleased | Code::NotWhole) => {
                self.full.members[0].counter += 1;
            }
            _ => assert_eq!(self.full.commit(0, changes).revision(), outcome.revision()),
        }
        outcome.revision()
    }

    fn check(&self, before: &Whole) {
        self.check_plan(before);
        let whole = whole(&self.thinned);
        for at in (0..=last(&self.full)).filter(|at| whole.contains(*at)) {
            assert_eq!(snapshot(&self.thinned, at), snapshot(&self.full, at), "as of {at}");
            let digest =
                |world: &Thin| query::register_digest(&world.store, &world.folder, at).unwrap();
            assert_eq!(digest(&self.thinned), digest(&self.full), "as of {at}");
        }
        let mut gone = 0;
        for (id, _) in self.full.store.entries(&self.full.folder, None, ALL).unwrap() {
            gone += self.check_entry(&id, &whole);
        }
        let versions =
            |world: &Thin| world.store.user(&world.user).unwrap().unwrap().usage.versions;
        assert_eq!(versions(&self.thinned), versions(&self.full) - gone);
    }

    /// Holds an entry's versions against those of the full one; returns how many are gone.
    fn check_entry(&self, id: &EntryId, whole: &Whole) -> u64 {
        let (all_places, all_contents) = (places(&self.full, id), contents(&self.full, id));
        let held = self.full.store.conflicts_naming(&self.full.folder, id).unwrap();
        let named = held.iter().flat_map(|it| [Some(it.opened), Some(it.theirs), it.base]);
        let named: BTreeSet<Revision> = named.flatten().collect();
        let place_at = |at: Revision| all_places.iter().find(|version| version.revision <= at);
        let content_at = |at: Revision| all_contents.iter().find(|it| it.revision <= at);
        let (mut must, mut may) = ((BTreeSet::new(), BTreeSet::new()), named.clone());
        for at in 1..=last(&self.full) {
            let (Some(place), Some(content)) = (place_at(at), content_at(at)) else { continue };
            if whole.contains(at) {
                must.0.insert(place.revision);
                if !place.deleted {
                    must.1.insert(content.revision);
                }
            }
            if whole.contains(at) || named.contains(&at) {
                may.extend([place.revision, content.revision]);
            }
        }
        may.extend([all_places[0].revision, all_contents[0].revision]);
        let now_places: BTreeSet<_> =
            places(&self.thinned, id).iter().map(|it| it.revision).collect();
        let now_contents: BTreeSet<_> =
            contents(&self.thinned, id).iter().map(|it| it.revision).collect();
        assert!(now_places.is_superset(&must.0), "{id}: places {now_places:?} {must:?}");
        assert!(now_contents.is_superset(&must.1), "{id}: contents {now_contents:?} {must:?}");
        let stays = now_places.iter().chain(&now_contents);
        assert!(stays.clone().all(|at| may.contains(at)), "{id}: {stays:?} of {may:?}");
        let full_rows = versions(&self.full, id);
        for row in versions(&self.thinned, id) {
            // Where it had been, and what it had held, may not be known any more.
            let same = |full: &&VersionRow| {
                let before = row.before.as_ref().and(full.before.clone());
                let attributes_before =
                    row.attributes_before.as_ref().and(full.attributes_before.clone());
                let full = (*full).clone();
                VersionRow { released: row.released, before, attributes_before, ..full } == row
            };
            assert!(full_rows.iter().any(|full| same(&full)), "{id}: {row:?} was never so");
        }
        let rows = |world: &Thin| places(world, id).len() + contents(world, id).len();
        (rows(&self.full) - rows(&self.thinned)) as u64
    }

    /// The plan, boundary by boundary and revision by revision.
    fn check_plan(&self, before: &Whole) {
        let world = &self.thinned;
        let (now, last) = (whole(world), last(world));
        let time = |at| world.store.mark(&world.folder, at).unwrap().unwrap().time_ms;
        let settings = world.store.settings(&world.folder, last).unwrap();
        let retention = settings.map_or_else(Retention::default, |it| it.settings.retention);
        let within = |at_ms: u64, window: u64| {
            window == u64::MAX || at_ms >= world.now_ms.saturating_sub(window)
        };
        let pinned = thinning::pinned(&world.store, &world.folder).unwrap();
        let mut may = pinned.clone();
        let first_ms = if last == 0 { world.now_ms } else { time(1) };
        let mut day_ms = world.now_ms / DAY_MS * DAY_MS;
        while day_ms >= first_ms {
            let passed = (1..=last).filter(|at| time(*at) < day_ms && before.contains(*at));
            if let Some(end) = passed.max() {
                // Calendars are tested by themselves: here each day may begin a month.
                let in_day = day_ms > world.now_ms.saturating_sub(retention.daily_ms)
                    || retention.daily_ms == u64::MAX;
                if in_day {
                    assert!(now.contains(end), "the end {end} of a day is gone");
                }
                may.insert(end);
            }
            day_ms -= DAY_MS;
        }
        for at in 1..=last {
            if !before.contains(at) {
                assert!(!now.contains(at), "{at} became whole again");
            } else if within(time(at), retention.keep_all_ms) || pinned.contains(&at) {
                assert!(now.contains(at), "{at} is new or pinned, and gone");
            } else if at < now.horizon && now.kept.contains(&at) {
                assert!(may.contains(&at), "{at} is kept for no reason");
            }
        }
        assert!(last == 0 || now.contains(last));
    }
}

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(150))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn s10_thinning_takes_nothing_that_a_whole_moment_shows(
        acts in prop::collection::vec(act(), 1..150)
    ) {
        let (thinned, full) = (World::new(MemoryStore::new()), World::new(MemoryStore::new()));
        let mut twins = Twins { thinned, full, made: 0 };
        for act in &acts {
            twins.act(act);
        }
        twins.act(&Act::Thin);
        let once = twins.thinned.store.clone();
        prop_assert_eq!(thin(&mut twins.thinned, 0), 0);
        prop_assert!(once == twins.thinned.store, "thinning twice is thinning once");
    }
}

/// A file that was edited and deleted long ago.
fn hollow() -> (Thin, Revision, Revision) {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a")]);
    let edited = world.accept(0, vec![edit(1, made, 2)]);
    let gone = world.accept(0, vec![delete(1, made, edited)]);
    world.accept(0, vec![file(2, "b")]);
    world.now_ms += 800 * DAY_MS;
    world.accept(0, vec![file(3, "c"), set(0, DAY_MS)]);
    world.now_ms += 2 * DAY_MS;
    world.accept(0, vec![file(4, "d")]);
    (world, edited, gone)
}

#[test]
fn a_released_entry_comes_back_with_a_content_only() {
    let (mut world, edited, gone) = hollow();
    assert!(thin(&mut world, 0) > 0);
    let rows = versions(&world, &entry(1));
    let seen: Vec<_> = rows.iter().map(|row| (row.revision, row.deleted, row.released)).collect();
    assert_eq!(seen, [(gone, true, true)]);
    assert_eq!(rows[0].registers.content.root, None);
    let back = revive(1, gone, EntryId::ROOT, "a");
    world.reject(1, vec![back.clone()], Code::ContentReleased, 0, Some(entry(1)));
    let revived = world.accept(1, vec![back, edit(1, edited, 7)]);
    assert_eq!(world.tree()[0], (1, 0, "a".to_owned(), 7));
    // It goes and comes once more: its new content was not released.
    let gone = world.accept(0, vec![delete(1, revived, revived)]);
    world.accept(0, vec![revive(1, gone, EntryId::ROOT, "a")]);
    assert_eq!(thin(&mut world, 0), 0);
}

#[test]
fn m9_a_restored_folder_is_not_thinned_before_somebody_could_say_again_what_is_kept() {
    let (mut world, ..) = hollow();
    let folder = world.folder;
    let grace_ms = 7 * DAY_MS;
    let planned = |world: &Thin, now_ms| {
        thinning::planned(&world.store, &folder, now_ms, grace_ms).unwrap().is_some()
    };
    assert!(planned(&world, 0), "a folder that was never restored has no such time");
    // The settings of the backup are long settled.
    world.now_ms += 8 * DAY_MS;
    world.done(Action::BeginEpoch);
    let restored_ms = world.now_ms;
    let until_ms = restored_ms + grace_ms;
    let held = |now_ms| thinning::held_until(&world.store, &folder, now_ms, grace_ms).unwrap();
    assert_eq!([held(restored_ms), held(until_ms - 1)], [Some(until_ms); 2]);
    assert!(held(until_ms).is_none());
    assert!(!planned(&world, restored_ms) && !planned(&world, until_ms - 1));
    world.now_ms = until_ms;
    assert!(thin(&mut world, grace_ms) > 0);
}

#[test]
fn a_side_of_an_open_conflict_is_not_released() {
    let mut world = World::pair(MemoryStore::new());
    let base = world.accept(0, vec![file(1, "a")]);
    let theirs = world.accept(0, vec![edit(1, base, 2)]);
    let open = Change::OpenConflict {
        conflict: conflict(1),
        entry: entry(1),
        base: Some(base),
        theirs,
        copy: entry(2),
    };
    let opened = world.accept(1, vec![file(2, "a (conflict)"), open]);
    world.accept(1, vec![edit(1, theirs, 3)]);
    world.accept(1, vec![delete(2, opened, opened)]);
    world.now_ms += 800 * DAY_MS;
    let far = world.accept(0, vec![set(0, DAY_MS)]);
    world.now_ms += 2 * DAY_MS;
    world.accept(0, vec![move_to(1, base, EntryId::ROOT, "b")]);
    thin(&mut world, 0);
    assert!(whole(&world).horizon >= far);
    let tags = |world: &Thin, number| {
        let found = contents(world, &entry(number));
        found.iter().map(|it| (it.content.tag.as_bytes()[0], it.released)).collect::<Vec<_>>()
    };
    assert_eq!(tags(&world, 1), [(3, false), (2, false), (1, false)]);
    assert_eq!(tags(&world, 2), [(2, false)]);
    let resolution = Resolution::Gone;
    world.accept(0, vec![Change::ResolveConflict { conflict: conflict(1), resolution }]);
    thin(&mut world, 0);
    assert_eq!(tags(&world, 1), [(3, false)]);
    assert_eq!(tags(&world, 2), [(2, true)]);
}

#[test]
fn a_checkpoint_of_a_thinned_moment_is_refused() {
    let (mut world, _, gone) = hollow();
    let mark = world.store.mark(&world.folder, gone).unwrap().unwrap();
    let head = mark.head;
    let cursor = common::revision::Cursor { epoch: 1, revision: gone, head };
    thin(&mut world, 0);
    assert!(!whole(&world).contains(gone));
    let (folder, device, digest) = (world.folder, world.device(0), head);
    let checkpoint = Checkpoint { folder, cursor, digest, device };
    let checkpoint = checkpoint.sign(&world.members[0].keys.signing);
    let refused = world.refused(Action::PutCheckpoint { device, checkpoint });
    assert_eq!(refused, server_core::metadata::Refused::CheckpointThinned(gone));
}

#[test]
fn a_release_of_many_versions_comes_in_parts() {
    let mut world = World::pair(MemoryStore::new());
    let mut base = world.accept(0, vec![file(1, "a")]);
    for number in 0..2_100_u32 {
        let to = number.to_le_bytes()[0];
        base = world.accept(0, vec![edit(1, base, to)]);
    }
    world.now_ms += 800 * DAY_MS;
    world.accept(0, vec![set(0, DAY_MS)]);
    world.now_ms += 2 * DAY_MS;
    assert!(matches!(world.commit(0, vec![file(2, "b")]), GroupOutcome::Accepted { .. }));
    let folder = world.folder;
    let planned = thinning::planned(&world.store, &folder, world.now_ms, 0).unwrap().unwrap();
    let (settings, whole) = (planned.settings, planned.whole);
    world.done(Action::MoveHorizon { folder, settings, whole });
    let mut parts = Vec::new();
    loop {
        let release = Action::Release { folder, entries: vec![entry(1)] };
        let Ok(Answer::Released { versions }) = world.apply(release).answer else { panic!() };
        parts.push(versions);
        if versions < thinning::RELEASED_TOGETHER {
            break;
        }
    }
    assert_eq!(parts, [thinning::RELEASED_TOGETHER, 2_100 - thinning::RELEASED_TOGETHER]);
    assert_eq!(contents(&world, &entry(1)).len(), 1);
    assert_eq!(world.tree().len(), 2);
}
