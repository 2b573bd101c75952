//! Users, devices, invitations, keyrings, folders and checkpoints.

use crate::world::{BEGAN_MS, LIFE_MS, World, code, file, genesis, member};
use common::ids::{Head, LookupId};
use common::limits::{
    INVITATION_BYTES_MAX, INVITATION_LIFE_MS_MAX, INVITATIONS_OPEN_MAX, KEYRING_BYTES_MAX,
};
use common::trust::{Checkpoint, JoinKind, TrustError, revoke_record, void_record};
use common::wire::meta::RefusalCode;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{Action, Answer, Event, FolderReads, Quota, Refused, UserReads, query};

fn world() -> World<MemoryStore> {
    World::new(MemoryStore::new())
}

fn redeem(world: &World<MemoryStore>, number: u8) -> Action {
    Action::RedeemInvitation {
        device: member(number).keys.device(),
        lookup: code(JoinKind::Device, number).lookup(),
        record: world.redemption(number, world.now_ms),
    }
}

fn open(world: &World<MemoryStore>, number: u8) -> Action {
    let record = world.invitation(number);
    Action::OpenInvitation { device: world.device(0), record, blob: vec![number] }
}

fn bootstrap(number: u8, lookup: LookupId) -> Action {
    let device = member(number).keys.device();
    Action::RedeemBootstrap { device, lookup, genesis: genesis(number), quota: Quota::UNLIMITED }
}

#[test]
fn a_bootstrap_invitation_makes_one_user_and_is_gone() {
    let mut world = world();
    let lookup = code(JoinKind::Bootstrap, 1).lookup();
    assert_eq!(world.store.invitation(&lookup).unwrap(), None);
    // The same redemption after a lost reply.
    world.done(bootstrap(1, lookup));
    assert_eq!(world.refused(bootstrap(3, lookup)), Refused::InvitationInvalid);
    assert_eq!(world.refused(bootstrap(3, lookup)).code(), RefusalCode::InvitationInvalid);
}

#[test]
fn a_bootstrap_invitation_expires_and_makes_room() {
    let mut world = world();
    let lookup = |number| code(JoinKind::Bootstrap, number).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup: lookup(2), expires_ms });
    let again = Action::OpenBootstrap { lookup: lookup(2), expires_ms };
    assert_eq!(world.refused(again), Refused::LookupTaken);
    world.now_ms += 1_000;
    assert_eq!(world.refused(bootstrap(3, lookup(2))), Refused::InvitationInvalid);
    let late = Action::OpenBootstrap { lookup: lookup(3), expires_ms: world.now_ms };
    assert_eq!(world.refused(late), Refused::InvitationExpiry);
    let expires_ms = world.now_ms + INVITATION_LIFE_MS_MAX + 1;
    let long = Action::OpenBootstrap { lookup: lookup(3), expires_ms };
    assert_eq!(world.refused(long), Refused::InvitationExpiry);
    for number in 0..INVITATIONS_OPEN_MAX {
        let lookup = lookup(100 + u8::try_from(number).unwrap());
        world.done(Action::OpenBootstrap { lookup, expires_ms: world.now_ms + 1_000 });
    }
    let full = Action::OpenBootstrap { lookup: lookup(5), expires_ms: world.now_ms + 1_000 };
    assert!(matches!(world.refused(full), Refused::TooMany { .. }));
    world.now_ms += 1_000;
    world.done(Action::OpenBootstrap { lookup: lookup(5), expires_ms: world.now_ms + 1_000 });
    assert_eq!(world.store.invitations(None).unwrap(), 1);
}

#[test]
fn a_device_of_a_user_cannot_bootstrap_another() {
    let mut world = world();
    world.join(2);
    let lookup = code(JoinKind::Bootstrap, 2).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup, expires_ms });
    let refused = world.refused(bootstrap(2, lookup));
    assert_eq!(refused, Refused::DeviceTaken(world.device(1)));
    // Nor can a genesis that lists another key than the peer's.
    let foreign = Action::RedeemBootstrap {
        device: world.device(1),
        lookup,
        genesis: genesis(3),
        quota: Quota::UNLIMITED,
    };
    assert!(matches!(world.refused(foreign), Refused::RecordInvalid(_)));
}

#[test]
fn a_device_invitation_works_once_and_its_blob_goes() {
    let mut world = world();
    let action = open(&world, 2);
    world.done(action);
    let lookup = code(JoinKind::Device, 2).lookup();
    assert_eq!(world.store.invitation(&lookup).unwrap().unwrap().blob, vec![2]);
    let action = redeem(&world, 2);
    let Ok(Answer::Done) = world.apply(action.clone()).answer else { panic!("refused") };
    assert_eq!(world.store.invitation(&lookup).unwrap(), None);
    // The same redemption after a lost reply; another device with the same code.
    world.done(action.clone());
    let Action::RedeemInvitation { record, .. } = action else { unreachable!() };
    let device = member(3).keys.device();
    let stolen = Action::RedeemInvitation { device, lookup, record };
    assert_eq!(world.refused(stolen), Refused::InvitationInvalid);
    let devices = world.store.devices(&world.user).unwrap();
    assert_eq!(devices.len(), 2);
}

#[test]
fn kinds_of_invitations_do_not_redeem_as_each_other() {
    let mut world = world();
    let action = open(&world, 2);
    world.done(action);
    let lookup = code(JoinKind::Device, 2).lookup();
    assert_eq!(world.refused(bootstrap(3, lookup)), Refused::InvitationInvalid);
    let boot = code(JoinKind::Bootstrap, 2).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup: boot, expires_ms });
    let Action::RedeemInvitation { device, record, .. } = redeem(&world, 2) else { unreachable!() };
    let crossed = Action::RedeemInvitation { device, lookup: boot, record };
    assert_eq!(world.refused(crossed), Refused::InvitationInvalid);
}

#[test]
fn an_expired_invitation_is_refused_by_the_servers_clock_and_then_voided() {
    let mut world = world();
    let action = open(&world, 2);
    world.done(action);
    let action = redeem(&world, 2);
    world.now_ms += LIFE_MS;
    assert_eq!(world.refused(action), Refused::InvitationInvalid);
    let lookup = code(JoinKind::Device, 2).lookup();
    let expired = world.store.invitations_expired(world.now_ms, 10).unwrap();
    assert_eq!(expired, vec![(lookup, Some(world.user))]);
    let signer = &world.members[0].keys.signing;
    let record = void_record(&world.log(), signer, &lookup, world.now_ms).unwrap();
    let device = world.device(0);
    world.done(Action::AppendLog { device, record });
    assert_eq!(world.store.invitation(&lookup).unwrap(), None);
}

#[test]
fn a_refused_invitation_leaves_no_trace() {
    let mut world = world();
    let before = world.store.clone();
    let (device, record) = (world.device(0), world.invitation(2));
    let blob = vec![0; INVITATION_BYTES_MAX + 1];
    let large = Action::OpenInvitation { device, record: record.clone(), blob };
    assert!(matches!(world.refused(large), Refused::TooLarge { .. }));
    world.now_ms += LIFE_MS;
    let late = Action::OpenInvitation { device, record, blob: vec![] };
    assert_eq!(world.refused(late), Refused::InvitationExpiry);
    assert!(world.store == before);
    // A record of another kind does not open one.
    world.now_ms = BEGAN_MS;
    world.join(2);
    let before = world.store.clone();
    let signer = &world.members[0].keys.signing;
    let record = revoke_record(&world.log(), signer, &world.device(1), None, world.now_ms).unwrap();
    let wrong = Action::OpenInvitation { device, record, blob: vec![] };
    assert_eq!(world.refused(wrong), Refused::RecordKind);
    assert!(world.store == before);
}

#[test]
fn a_record_that_does_not_follow_the_head_is_a_conflict() {
    let mut world = world();
    let (first, second) = (open(&world, 2), open(&world, 3));
    world.done(first);
    let refused = world.refused(second);
    assert_eq!((refused.code(), &refused), (RefusalCode::Conflict, &Refused::LogMoved));
    let device = world.device(0);
    let garbage = world.refused(Action::AppendLog { device, record: vec![1, 2, 3] });
    assert_eq!(garbage.code(), RefusalCode::RecordInvalid);
}

#[test]
fn a_full_log_is_told_as_a_quota_and_a_long_one_is_replayed_whole() {
    let refused = Refused::RecordInvalid(TrustError::LogFull);
    assert_eq!(refused.code(), RefusalCode::Quota);
    let mut world = world();
    for number in 2..40 {
        world.join(number);
    }
    assert_eq!(world.log().len(), 1 + 2 * 38);
}

#[test]
fn a_revoked_device_is_nobody_and_open_invitations_are_void() {
    let mut world = world();
    world.join(2);
    let action = open(&world, 3);
    world.done(action);
    let revoked = world.device(1);
    let signer = &world.members[0].keys.signing;
    let record = revoke_record(&world.log(), signer, &revoked, None, world.now_ms).unwrap();
    let device = world.device(0);
    let outcome = world.apply(Action::AppendLog { device, record });
    assert_eq!(outcome.answer, Ok(Answer::Done));
    assert_eq!(outcome.events, vec![Event::Devices { user: world.user }]);
    assert!(world.store.device(&revoked).unwrap().unwrap().revoked);
    assert_eq!(query::enrolled(&world.store, &revoked).unwrap(), None);
    let lookup = code(JoinKind::Device, 3).lookup();
    assert_eq!(world.store.invitation(&lookup).unwrap(), None);
    let refusals = [
        Action::PutKeyring { device: revoked, version: 1, sealed: vec![1] },
        Action::CreateFolder { device: revoked, genesis: world.folder_genesis(1, 7).1 },
        Action::AppendLog { device: revoked, record: vec![] },
    ];
    for action in refusals {
        assert_eq!(world.refused(action), Refused::NotEnrolled(revoked));
    }
    let group = world.group(1, vec![file(1, "f")]);
    let signed = world.sign(1, &group);
    let commit = server_core::metadata::PreparedCommit::prepare(
        revoked,
        world.folder,
        vec![signed],
        &[],
        std::collections::BTreeMap::new(),
    );
    assert_eq!(world.refused(Action::Commit(commit)), Refused::NotEnrolled(revoked));
    world.done(Action::SeeDevices { seen: vec![(revoked, BEGAN_MS), (device, BEGAN_MS)] });
    assert_eq!(world.store.device(&revoked).unwrap().unwrap().seen_ms, None);
    assert_eq!(world.store.device(&device).unwrap().unwrap().seen_ms, Some(BEGAN_MS));
}

#[test]
fn a_keyring_is_replaced_by_compare_and_swap() {
    let mut world = world();
    world.join(2);
    let put = |device, version, byte| Action::PutKeyring { device, version, sealed: vec![byte] };
    let (one, two) = (world.device(0), world.device(1));
    assert_eq!(world.refused(put(one, 0, 1)), Refused::KeyringMoved { stored: 0 });
    assert_eq!(world.refused(put(one, 2, 1)), Refused::KeyringMoved { stored: 0 });
    world.done(put(one, 1, 1));
    assert_eq!(world.refused(put(two, 1, 2)), Refused::KeyringMoved { stored: 1 });
    world.done(put(one, 1, 1));
    world.done(put(two, 2, 2));
    assert_eq!(world.store.keyring(&world.user).unwrap(), (2, vec![2]));
    let sealed = vec![0; KEYRING_BYTES_MAX + 1];
    let large = Action::PutKeyring { device: one, version: 3, sealed };
    assert!(matches!(world.refused(large), Refused::TooLarge { .. }));
}

#[test]
fn a_folder_is_made_once_and_by_its_owner() {
    let mut world = world();
    world.join(2);
    let (device, (_, genesis)) = (world.device(0), world.folder_genesis(0, 1));
    world.done(Action::CreateFolder { device, genesis: genesis.clone() });
    assert_eq!(world.store.folders(&world.user, None, 10).unwrap().len(), 1);
    let mut forged = genesis;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let refused = world.refused(Action::CreateFolder { device, genesis: forged });
    assert!(matches!(refused, Refused::DocumentInvalid(_)));
    world.user = common::ids::UserId::from_bytes([5; 32]);
    let (_, foreign) = world.folder_genesis(0, 2);
    let refused = world.refused(Action::CreateFolder { device, genesis: foreign });
    assert_eq!(refused, Refused::DocumentForeign);
}

#[test]
fn a_checkpoint_lies_on_the_chain_and_the_newest_is_kept() {
    let mut world = world();
    world.accept(0, vec![file(1, "f")]);
    let at_one = world.store.folder(&world.folder).unwrap().unwrap().cursor();
    world.accept(0, vec![file(2, "g")]);
    let at_two = world.store.folder(&world.folder).unwrap().unwrap().cursor();
    let put = |world: &World<MemoryStore>, cursor| {
        let device = world.device(0);
        let digest = Head::from_bytes([1; 32]);
        let checkpoint = Checkpoint { folder: world.folder, cursor, digest, device };
        let checkpoint = checkpoint.sign(&world.members[0].keys.signing);
        Action::PutCheckpoint { device, checkpoint }
    };
    for cursor in [at_two, at_one] {
        let action = put(&world, cursor);
        world.done(action);
    }
    let (at, _) = world.store.checkpoint(&world.folder).unwrap().unwrap();
    assert_eq!(at, 2);
    let wrong = [
        common::revision::Cursor { head: at_one.head, ..at_two },
        common::revision::Cursor { revision: 9, ..at_two },
        common::revision::Cursor { epoch: 7, ..at_two },
    ];
    for cursor in wrong {
        let action = put(&world, cursor);
        assert_eq!(world.refused(action), Refused::DocumentForeign);
    }
}
