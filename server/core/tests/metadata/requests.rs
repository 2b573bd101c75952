//! One request id, one effect (M3), stale bases (M1), and who may commit.

use crate::world::{World, edit, file, genesis, member};
use common::ids::{FolderId, Head};
use common::limits::OUTCOMES_KEPT;
use common::record::SignedGroup;
use common::trust::{DeviceLog, JoinKind};
use common::wire::meta::{RefusalCode, RejectionCode as Code};
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, FolderReads, PreparedCommit, Quota, Refused, RequestReads, UserReads,
};
use std::collections::BTreeMap;

fn world() -> World<MemoryStore> {
    World::pair(MemoryStore::new())
}

#[test]
fn m1_a_stale_base_is_refused_never_overwritten() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "f")]);
    let mut latest = base;
    for round in 0..10 {
        let winner = round % 2;
        let next = world.accept(winner, vec![edit(1, latest, 50)]);
        world.reject(
            1 - winner,
            vec![edit(1, latest, 60)],
            Code::StaleContent,
            0,
            Some(crate::world::entry(1)),
        );
        latest = next;
    }
    assert_eq!(world.tree(), vec![(1, 0, "f".to_owned(), 50)]);
}

#[test]
fn m3_the_same_request_gets_the_same_outcome() {
    let mut world = world();
    let group = world.group(0, vec![file(1, "f")]);
    let first = world.send_one(0, &group);
    world.accept(1, vec![file(2, "g")]);
    let before = world.store.clone();
    world.now_ms += 5_000;
    assert_eq!(world.send_one(0, &group), first);
    assert!(world.store == before);
    // A rejection is an outcome too: it stays one even when the way would be free now.
    let refused = world.group(0, vec![edit(9, 1, 1)]);
    let outcome = world.send_one(0, &refused);
    assert_eq!(outcome.rejection(), Some(Code::NoSuchEntry));
    world.accept(0, vec![file(9, "late")]);
    assert_eq!(world.send_one(0, &refused), outcome);
    let kept = world.store.outcome(&world.folder, &world.device(0), &refused.request).unwrap();
    assert_eq!(kept.unwrap().outcome, outcome);
}

#[test]
fn m3_a_request_id_with_other_bytes_is_refused() {
    let mut world = world();
    let group = world.group(0, vec![file(1, "f")]);
    let first = world.send_one(0, &group);
    let mut other = world.group(0, vec![file(2, "g")]);
    other.request = group.request;
    let before = world.store.clone();
    assert_eq!(world.send_one(0, &other).rejection(), Some(Code::RequestId));
    assert!(world.store == before);
    assert_eq!(world.send_one(0, &group), first);
}

#[test]
fn m3_a_request_below_the_window_is_refused() {
    let mut world = world();
    let old = world.group(0, vec![file(1, "f")]);
    world.send_one(0, &old);
    world.members[0].counter += OUTCOMES_KEPT - 2;
    let newest_that_keeps_it = world.group(0, vec![file(2, "g")]);
    world.send_one(0, &newest_that_keeps_it);
    assert_eq!(world.send_one(0, &old).revision(), Some(1));
    world.accept(0, vec![file(3, "h")]);
    assert_eq!(world.send_one(0, &old).rejection(), Some(Code::RequestId));
    let gone = world.store.outcome(&world.folder, &world.device(0), &old.request).unwrap();
    assert_eq!(gone, None);
    let mut zero = world.group(0, vec![file(4, "i")]);
    zero.request.counter = 0;
    assert_eq!(world.send_one(0, &zero).rejection(), Some(Code::RequestId));
}

#[test]
fn m3_requests_arrive_in_any_order_within_the_window() {
    let mut world = world();
    let first = world.group(0, vec![file(1, "f")]);
    let second = world.group(0, vec![file(2, "g")]);
    assert_eq!(world.send_one(0, &second).revision(), Some(1));
    assert_eq!(world.send_one(0, &first).revision(), Some(2));
    assert_eq!(world.send_one(0, &second).revision(), Some(1));
}

#[test]
fn old_incarnations_are_closed_and_stay_closed() {
    let mut world = world();
    let first = world.group(0, vec![file(1, "f")]);
    world.send_one(0, &first);
    for incarnation in 0..8 {
        world.members[0].incarnation = 1_000 + incarnation;
        world.members[0].counter = 0;
        let number = 10 + u8::try_from(incarnation).unwrap();
        world.accept(0, vec![file(number, &number.to_string())]);
    }
    assert_eq!(world.send_one(0, &first).rejection(), Some(Code::RequestId));
    let windows = world.store.windows(&world.folder, &world.device(0)).unwrap();
    assert_eq!(windows.iter().filter(|(_, window)| !window.closed).count(), 8);
    assert_eq!(windows.len(), 9);
}

#[test]
fn groups_of_a_commit_are_judged_one_by_one() {
    let mut world = world();
    let groups = [vec![file(1, "f")], vec![file(2, "f")], vec![file(3, "g")]];
    let signed: Vec<SignedGroup> = groups
        .into_iter()
        .map(|changes| {
            let group = world.group(0, changes);
            world.sign(0, &group)
        })
        .collect();
    let outcomes = world.send(0, signed, &[], BTreeMap::new());
    let seen: Vec<_> =
        outcomes.iter().map(|outcome| (outcome.revision(), outcome.rejection())).collect();
    assert_eq!(seen, vec![(Some(1), None), (None, Some(Code::NameTaken)), (Some(2), None)]);
}

#[test]
fn a_group_needs_the_signature_of_the_peer_that_sends_it() {
    let mut world = world();
    let group = world.group(0, vec![file(1, "f")]);
    let mut forged = world.sign(0, &group);
    forged.body.push(0);
    let by_other_key = world.sign(1, &group);
    let relayed = world.sign(0, &group);
    let before = world.store.clone();
    for (peer, signed) in [(0, forged), (0, by_other_key), (1, relayed)] {
        let outcome = world.send(peer, vec![signed], &[], BTreeMap::new()).remove(0);
        let code = outcome.rejection().unwrap();
        assert!(matches!(code, Code::BadSignature | Code::Malformed), "{code:?}");
    }
    let garbage = SignedGroup { body: vec![0xff; 40], signature: world.sign(0, &group).signature };
    let outcome = world.send(0, vec![garbage], &[], BTreeMap::new()).remove(0);
    assert_eq!(outcome.rejection(), Some(Code::Malformed));
    let mut elsewhere = world.group(0, vec![file(1, "f")]);
    elsewhere.folder = FolderId::from_bytes([9; 32]);
    assert_eq!(world.send_one(0, &elsewhere).rejection(), Some(Code::Malformed));
    assert!(world.store == before, "what is not authentic is not even remembered");
}

#[test]
fn what_the_author_saw_has_to_lie_on_this_journal() {
    let mut world = world();
    world.accept(0, vec![file(1, "f")]);
    let mut other_epoch = world.group(0, vec![file(2, "g")]);
    other_epoch.epoch = 2;
    assert_eq!(world.send_one(0, &other_epoch).rejection(), Some(Code::WrongEpoch));
    let mut other_head = world.group(0, vec![file(2, "g")]);
    other_head.seen_head = Head::from_bytes([7; 32]);
    assert_eq!(world.send_one(0, &other_head).rejection(), Some(Code::UnknownHead));
    let mut ahead = world.group(0, vec![file(2, "g")]);
    ahead.seen_revision = u64::MAX;
    assert_eq!(world.send_one(0, &ahead).rejection(), Some(Code::UnknownHead));
    let mut other_log = world.group(0, vec![file(2, "g")]);
    other_log.device_log_head = Head::from_bytes([7; 32]);
    assert_eq!(world.send_one(0, &other_log).rejection(), Some(Code::UnknownHead));
    let mut earlier = world.group(0, vec![file(2, "g")]);
    earlier.seen_revision = 0;
    earlier.seen_head = Head::ZERO;
    assert!(world.send_one(0, &earlier).revision().is_some());
}

#[test]
fn strangers_and_other_users_get_one_answer() {
    let mut world = world();
    let lookup = crate::world::code(JoinKind::Bootstrap, 50).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup, expires_ms });
    let device = member(50).keys.device();
    let quota = Quota::UNLIMITED;
    world.done(Action::RedeemBootstrap { device, lookup, genesis: genesis(50), quota });
    let other = DeviceLog::genesis(&genesis(50)).unwrap().user();
    assert!(world.store.user(&other).unwrap().is_some());
    let commit = |device, folder| {
        Action::Commit(PreparedCommit::prepare(device, folder, vec![], &[], BTreeMap::new()))
    };
    let theirs = world.refused(commit(device, world.folder));
    let nowhere = world.refused(commit(device, FolderId::from_bytes([3; 32])));
    assert_eq!(theirs, nowhere);
    assert_eq!(theirs.code(), RefusalCode::NoSuchFolder);
    let stranger = member(99).keys.device();
    let refused = world.refused(commit(stranger, world.folder));
    assert_eq!(refused, Refused::NotEnrolled(stranger));
    assert!(world.store.folders(&other, None, 10).unwrap().is_empty());
}

#[test]
fn times_never_go_back() {
    let mut world = world();
    world.accept(0, vec![file(1, "f")]);
    world.now_ms -= 500_000;
    world.accept(0, vec![file(2, "g")]);
    world.now_ms += 900_000;
    world.accept(0, vec![file(3, "h")]);
    let times: Vec<u64> = (1..=3)
        .map(|revision| {
            use server_core::metadata::JournalReads;
            world.store.mark(&world.folder, revision).unwrap().unwrap().time_ms
        })
        .collect();
    assert!(times.is_sorted());
    assert_eq!(times[0], times[1]);
    assert!(times[2] > times[1]);
}
