//! Who may ask: enrolment, invitations, revocation, other users' folders.

use super::world::{DAY_MS, World, code_of, now, one, refusal_code};
use common::ids::FolderId;
use common::keys::DeviceKeys;
use common::limits::KEYRING_BYTES_MAX;
use common::trust::{JoinKind, NewDevice, genesis_record, redeem_record, revoke_record};
use common::wire::meta::{self, Empty, RefusalCode, Reply, Request};
use common::wire::retention::{LabelsRead, RetentionPreviewRead};
use common::wire::store::StoreVerb;
use futures_util::FutureExt;

/// Every request that names a folder.
fn requests_for(folder: &FolderId) -> Vec<Request> {
    let folder = folder.to_vec();
    let entry = vec![1; 16];
    vec![
        Request::Capability(meta::CapabilityRequest { folder: folder.clone() }),
        Request::Outcomes(meta::OutcomesRead { folder: folder.clone(), ..Default::default() }),
        Request::Snapshot(meta::SnapshotRead { folder: folder.clone() }),
        Request::Labels(LabelsRead { folder: folder.clone() }),
        Request::RetentionPreview(RetentionPreviewRead { folder: folder.clone(), retention: None }),
        Request::Versions(meta::VersionsRead { folder, entry, ..Default::default() }),
    ]
}

#[test]
fn a_stranger_gets_nothing() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let stranger = DeviceKeys::from_seed([66; 32]).device();
    let mut requests = requests_for(&folder);
    requests.extend([
        Request::DeviceLogRead(meta::DeviceLogRead { from: 0 }),
        Request::FolderList(Empty {}),
        Request::KeyringGet(Empty {}),
        Request::Presence(Empty {}),
        Request::FolderCreate(meta::FolderCreate { genesis: Vec::new() }),
    ]);
    for request in requests {
        let reply = one(now(world.service.request(stranger, request.clone())));
        assert_eq!(code_of(reply), RefusalCode::NotEnrolled, "{request:?}");
    }
    let commit = now(world.service.commit(stranger, folder, Vec::new()));
    assert_eq!(code_of(commit), RefusalCode::NotEnrolled);
    let subscribe = meta::Subscribe { folder: folder.to_vec(), epoch: 1, revision: 0 };
    let refusal = now(world.service.subscribe(stranger, subscribe)).unwrap_err();
    assert_eq!(refusal_code(&refusal), RefusalCode::NotEnrolled);
    assert!(!world.service.is_enrolled(&stranger));
}

#[test]
fn another_users_folder_is_answered_as_one_that_does_not_exist() {
    let world = World::new();
    let folder = world.bootstrap(1).create_folder(1);
    let other = world.bootstrap(2);
    let missing = FolderId::from_bytes([0xee; 32]);
    for (foreign, nowhere) in requests_for(&folder).into_iter().zip(requests_for(&missing)) {
        let answer = other.ask(foreign.clone());
        assert_eq!(answer, other.ask(nowhere), "{foreign:?}");
        assert_eq!(code_of(one(answer)), RefusalCode::NoSuchFolder, "{foreign:?}");
    }
    let commit = |folder| now(world.service.commit(other.id(), folder, Vec::new()));
    assert_eq!(commit(folder), commit(missing));
    let subscribe = |folder| other.subscribe(folder, 0).unwrap_err();
    assert_eq!(subscribe(&folder), RefusalCode::NoSuchFolder);
    assert_eq!(subscribe(&missing), RefusalCode::NoSuchFolder);
    assert_eq!(other.ask(Request::FolderList(Empty {})), [Reply::Folders(Default::default())]);
}

#[test]
fn an_invitation_works_once_and_in_time() {
    let world = World::new();
    let first = world.bootstrap(1);
    let code = first.invite(&world, 7);
    let keys = DeviceKeys::from_seed([7; 32]);
    let new = NewDevice { keys: &keys, label: "late", secrets: &first.secrets, seed: [7; 32] };
    let record = redeem_record(&first.log(), &code, &new, world.service.now_ms()).unwrap();

    let fetched = world.fetch(keys.device(), &code);
    assert!(matches!(&fetched[0], Reply::Invitation(invitation) if invitation.blob == b"sealed"));
    assert!(matches!(&fetched[1], Reply::DeviceLog(part) if part.records.len() == 2));

    assert_eq!(world.redeem(keys.device(), &code, record.clone()), Reply::Done(Empty {}));
    // The reply may have been lost: the same again is done already.
    assert_eq!(world.redeem(keys.device(), &code, record.clone()), Reply::Done(Empty {}));
    let gone = code_of(one(world.fetch(keys.device(), &code)));
    assert_eq!(gone, RefusalCode::InvitationInvalid);
    let other = DeviceKeys::from_seed([8; 32]).device();
    assert_eq!(code_of(world.redeem(other, &code, record)), RefusalCode::InvitationInvalid);

    let late = first.invite(&world, 9);
    world.advance(DAY_MS);
    let expired = code_of(one(world.fetch(other, &late)));
    assert_eq!(expired, RefusalCode::InvitationInvalid);
    let unknown = world.code(JoinKind::Device, 99);
    assert_eq!(code_of(one(world.fetch(other, &unknown))), RefusalCode::InvitationInvalid);
}

#[test]
fn no_kind_of_invitation_redeems_as_another() {
    let world = World::new();
    let first = world.bootstrap(1);
    let code = first.invite(&world, 7);
    let keys = DeviceKeys::from_seed([7; 32]);
    let new = NewDevice { keys: &keys, label: "x", secrets: &first.secrets, seed: [7; 32] };
    let recovery = common::keys::RecoveryKey::from_seed([7; 32]).public();
    let genesis = genesis_record(&new, &recovery, world.service.now_ms()).unwrap();
    let reply = world.redeem(keys.device(), &code, genesis);
    assert_eq!(code_of(reply), RefusalCode::InvitationInvalid);
    assert!(!world.service.is_enrolled(&keys.device()));
}

#[test]
fn a_join_connection_serves_joining_only() {
    let world = World::new();
    let device = world.bootstrap(1);
    let reply = one(world.ask_to_join(device.id(), Request::FolderList(Empty {})));
    assert_eq!(code_of(reply), RefusalCode::Malformed);
    let fetch = meta::InvitationFetch { lookup: vec![1; 15] };
    let reply = one(world.ask_to_join(device.id(), Request::InvitationFetch(fetch)));
    assert_eq!(code_of(reply), RefusalCode::Malformed);
}

#[test]
fn a_revoked_device_loses_its_connections_subscriptions_and_streams() {
    let world = World::new();
    let first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let mut connection = world.service.connected(second.id());
    let mut kept = world.service.connected(first.id());
    let mut subscription = second.subscribe(&folder, 0).unwrap();
    assert!(subscription.next().now_or_never().flatten().is_some());
    let session = second.open(&folder, StoreVerb::Get).unwrap();
    let capability = second.capability(&folder).unwrap();
    assert!(connection.revoked().now_or_never().is_none());

    let now_ms = world.service.now_ms();
    let signing = &first.keys.signing;
    let record = revoke_record(&first.log(), signing, &second.id(), None, now_ms).unwrap();
    assert_eq!(first.append(record), Reply::Done(Empty {}));

    assert!(connection.revoked().now_or_never().is_some());
    assert!(kept.revoked().now_or_never().is_none());
    assert_eq!(subscription.next().now_or_never(), Some(None));
    let refusal = now(session.get(common::ids::ChunkId::of(b"x"))).unwrap_err();
    assert_eq!(refusal_code(&refusal), RefusalCode::Revoked);
    let open = common::wire::store::StoreOpen { capability, verb: StoreVerb::Get as i32 };
    let refusal = world.service.open_store(second.id(), &open).unwrap_err();
    assert_eq!(refusal_code(&refusal), RefusalCode::Revoked);
    let reply = second.ask_one(Request::FolderList(Empty {}));
    assert_eq!(code_of(reply), RefusalCode::Revoked);
    let refusal = world.service.check_enrolled(&second.id()).unwrap_err();
    assert_eq!(refusal_code(&refusal), RefusalCode::Revoked);
    let expected = format!("this device was revoked on {}", crate::service::rfc3339(now_ms));
    assert_eq!(refusal.message, expected);
    assert!(!world.service.is_enrolled(&second.id()));
}

#[test]
fn a_record_that_does_not_follow_the_log_is_refused() {
    let world = World::new();
    let first = world.bootstrap(1);
    let second = world.join(&first, 2);
    let log = first.log();
    let now_ms = world.service.now_ms();
    let stale = revoke_record(&log, &second.keys.signing, &first.id(), None, now_ms).unwrap();
    first.invite(&world, 5);
    assert_eq!(code_of(first.append(stale)), RefusalCode::Conflict);
    assert_eq!(code_of(first.append(vec![0; 100])), RefusalCode::RecordInvalid);
    assert_eq!(code_of(first.append(Vec::new())), RefusalCode::RecordInvalid);
}

#[test]
fn the_keyring_is_replaced_by_compare_and_swap() {
    let world = World::new();
    let device = world.bootstrap(1);
    let put = |version, sealed: &[u8]| {
        device.ask_one(Request::KeyringPut(meta::Keyring { version, sealed: sealed.to_vec() }))
    };
    let get = || device.ask_one(Request::KeyringGet(Empty {}));
    assert_eq!(get(), Reply::Keyring(meta::Keyring::default()));
    assert_eq!(put(1, b"one"), Reply::Done(Empty {}));
    assert_eq!(put(1, b"one"), Reply::Done(Empty {}));
    assert_eq!(code_of(put(1, b"other")), RefusalCode::Conflict);
    assert_eq!(code_of(put(3, b"three")), RefusalCode::Conflict);
    assert_eq!(code_of(put(2, &vec![0; KEYRING_BYTES_MAX + 1])), RefusalCode::Malformed);
    let kept = meta::Keyring { version: 1, sealed: b"one".to_vec() };
    assert_eq!(get(), Reply::Keyring(kept));
}

#[test]
fn text_with_metacharacters_is_only_text() {
    let world = World::new();
    let device = world.bootstrap(1);
    let nasty = b"'; DROP TABLE users; -- \0 \" %s $(id) \xff";
    let put = meta::Keyring { version: 1, sealed: nasty.to_vec() };
    assert_eq!(device.ask_one(Request::KeyringPut(put.clone())), Reply::Done(Empty {}));
    assert_eq!(device.ask_one(Request::KeyringGet(Empty {})), Reply::Keyring(put));
    assert!(world.service.is_enrolled(&device.id()));
}

#[test]
fn presence_tells_of_ones_own_devices_only() {
    let world = World::new();
    let first = world.bootstrap(1);
    let second = world.join(&first, 2);
    let other = world.bootstrap(3);
    let _other_connection = world.service.connected(other.id());
    let first_connection = world.service.connected(first.id());
    drop(world.service.connected(second.id()));
    now(world.service.record_presence()).unwrap();
    world.advance(5_000);
    let Reply::Presence(presence) = first.ask_one(Request::Presence(Empty {})) else { panic!() };
    let state = |device: &common::ids::DeviceId| {
        presence.devices.iter().find(|state| state.device == device.as_bytes()).cloned()
    };
    assert_eq!(presence.devices.len(), 2);
    assert!(state(&first.id()).unwrap().online);
    let second_state = state(&second.id()).unwrap();
    assert!(!second_state.online);
    assert_eq!(second_state.last_seen_ms + 5_000, world.service.now_ms());
    drop(first_connection);
}

#[test]
fn a_revoked_device_is_not_told_to_hold_anything() {
    let world = World::new();
    let first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let holders = || {
        let request = meta::HoldersRead { folder: folder.to_vec() };
        let Reply::Holders(reply) = first.ask_one(Request::Holders(request)) else { panic!() };
        reply.holders.into_iter().map(|holder| holder.device).collect::<Vec<_>>()
    };
    for device in [&first, &second] {
        let report = meta::Report { folder: folder.to_vec(), revision: 1 };
        assert_eq!(device.ask_one(Request::Report(report)), Reply::Done(Empty {}));
    }
    assert_eq!(holders().len(), 2);
    let (now_ms, signing) = (world.service.now_ms(), &first.keys.signing);
    let record = revoke_record(&first.log(), signing, &second.id(), None, now_ms).unwrap();
    assert_eq!(first.append(record), Reply::Done(Empty {}));
    assert_eq!(holders(), [first.id().to_vec()]);
    now(world.service.record_presence()).unwrap();
    assert_eq!(holders(), [first.id().to_vec()], "nor from what was written down");
}
