//! Labels and settings: which are accepted, and that they are what the digest covers.

use crate::world::{World, directory, edit, file};
use common::ids::LabelId;
use common::limits::LABELS_MAX;
use common::record::{Change, RegisterDigest, Retention, Settings, StandingSettings};
use common::revision::Revision;
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{Action, Refused, RetentionReads, UserReads, thinning};
use server_core::retention::Whole;

pub(crate) fn label(number: u16) -> LabelId {
    let [high, low] = number.to_be_bytes();
    LabelId::from_bytes([high, low, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
}

pub(crate) fn add(number: u16, at: Revision) -> Change {
    Change::AddLabel { label: label(number), at, name: number.to_be_bytes().to_vec() }
}

fn remove(number: u16) -> Change {
    Change::RemoveLabel { label: label(number) }
}

pub(crate) fn set(base: Revision, keep_all_ms: u64) -> Change {
    let retention = Retention { keep_all_ms, ..Retention::default() };
    Change::SetSettings { base, settings: Settings { retention, sealed: vec![1, 2] } }
}

#[test]
fn a_label_names_a_moment_of_the_past_that_is_whole() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a")]);
    world.reject(0, vec![add(1, 0)], Code::NotWhole, 0, None);
    world.reject(0, vec![add(1, made + 1)], Code::NotWhole, 0, None);
    let added = world.accept(1, vec![add(1, made)]);
    let labels = world.store.labels(&world.folder).unwrap();
    assert_eq!((labels[0].at, labels[0].added, labels.len()), (made, added, 1));
    world.reject(0, vec![add(1, made)], Code::IdTaken, 0, None);
    world.reject(0, vec![add(2, made), add(2, made)], Code::IdTaken, 1, None);
    world.reject(0, vec![remove(2)], Code::NoSuchLabel, 0, None);
    world.reject(0, vec![remove(1), remove(1)], Code::NoSuchLabel, 1, None);
    world.accept(0, vec![remove(1)]);
    assert_eq!(world.store.labels(&world.folder).unwrap(), []);
}

#[test]
fn a_thinned_moment_takes_no_label() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a")]);
    let edited = world.accept(0, vec![edit(1, made, 2)]);
    let last = world.accept(0, vec![directory(2, "d")]);
    let whole = Whole { horizon: last, kept: [made].into() };
    world.done(Action::MoveHorizon { folder: world.folder, settings: 0, whole });
    world.reject(0, vec![add(1, edited)], Code::NotWhole, 0, None);
    world.accept(0, vec![add(1, made), add(2, last)]);
}

#[test]
fn labels_of_a_folder_are_counted() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a")]);
    let numbers: Vec<u16> = (1..=u16::try_from(LABELS_MAX).unwrap()).collect();
    for some in numbers.chunks(500) {
        world.accept(0, some.iter().map(|number| add(*number, made)).collect());
    }
    world.reject(0, vec![add(0, made)], Code::Quota, 0, None);
    world.accept(0, vec![remove(1)]);
    world.accept(0, vec![add(0, made)]);
}

#[test]
fn settings_are_set_by_who_has_seen_those_before() {
    let mut world = World::pair(MemoryStore::new());
    world.reject(0, vec![set(1, 5)], Code::StaleSettings, 0, None);
    let before = world.digest().1;
    let first = world.accept(0, vec![set(0, 5)]);
    assert_ne!(world.digest().1, before, "settings are in the digest");
    world.reject(1, vec![set(0, 6)], Code::StaleSettings, 0, None);
    world.reject(1, vec![set(first, 6), set(first, 7)], Code::Malformed, 1, None);
    world.now_ms += 1_000;
    let second = world.accept(1, vec![set(first, u64::MAX)]);
    let of = |at| world.store.settings(&world.folder, at).unwrap();
    let keep = |it: Option<StandingSettings>| it.map(|it| it.settings.retention.keep_all_ms);
    assert_eq!(keep(of(second)), Some(u64::MAX));
    assert_eq!(keep(of(second - 1)), Some(5));
    assert_eq!(of(first - 1), None);
    let mut digest = RegisterDigest::new(&world.folder);
    digest.settings(second, &of(second).unwrap().settings);
    assert_eq!(digest.finish(), world.digest().1);
}

#[test]
fn new_settings_are_not_obeyed_alone_before_their_grace_has_passed() {
    let mut world = World::pair(MemoryStore::new());
    let obeyed = |world: &World<MemoryStore>| {
        let found = thinning::in_force(&world.store, &world.folder, world.now_ms, 100).unwrap();
        found.retentions().iter().map(|it| it.keep_all_ms).collect::<Vec<_>>()
    };
    let default = Retention::default().keep_all_ms;
    assert_eq!(obeyed(&world), [default]);
    let first = world.accept(0, vec![set(0, 5)]);
    assert_eq!(obeyed(&world), [default, 5]);
    world.now_ms += 99;
    assert_eq!(obeyed(&world), [default, 5]);
    world.now_ms += 1;
    assert_eq!(obeyed(&world), [5]);
    let second = world.accept(0, vec![set(first, 6)]);
    world.now_ms += 50;
    world.accept(0, vec![set(second, 7)]);
    assert_eq!(obeyed(&world), [5, 7]);
    world.now_ms += 50;
    assert_eq!(obeyed(&world), [6, 7]);
    world.now_ms += 50;
    assert_eq!(obeyed(&world), [7]);
}

#[test]
fn a_plan_that_has_become_old_takes_nothing_that_was_pinned_since() {
    let mut world = World::pair(MemoryStore::new());
    let made = world.accept(0, vec![file(1, "a")]);
    let edited = world.accept(0, vec![edit(1, made, 2)]);
    let last = world.accept(0, vec![edit(1, edited, 3)]);
    let planned = Whole { horizon: last + 9, kept: [].into() };
    let settings = world.accept(0, vec![add(1, edited), set(0, 5)]);
    let action =
        |settings| Action::MoveHorizon { folder: world.folder, settings, whole: planned.clone() };
    let (stale, fresh) = (action(0), action(settings));
    assert_eq!(world.refused(stale), Refused::SettingsMoved { stored: settings });
    world.done(fresh.clone());
    let whole = world.store.whole(&world.folder).unwrap();
    assert_eq!(whole, Whole { horizon: settings, kept: [edited].into() });
    // It never goes back.
    let back = Whole { horizon: 1, kept: [made].into() };
    world.done(Action::MoveHorizon { folder: world.folder, settings, whole: back });
    assert_eq!(world.store.whole(&world.folder).unwrap().horizon, settings);
    let versions = world.store.user(&world.user).unwrap().unwrap().usage.versions;
    assert_eq!(versions, 2 + 1 + 1 + 2);
}
