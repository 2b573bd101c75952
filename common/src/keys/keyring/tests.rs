//! The rules of the keyring, one named test each.

use super::*;
use crate::ids::{ClusterId, Signature};
use crate::keys::{DeviceKeys, RecoveryKey};
use crate::trust::{
    JoinCode, JoinKind, NewDevice, Rotation, generation_record, genesis_record, invitation_record,
    redeem_record, revoke_record,
};
use proptest::prelude::*;

fn device(number: u8) -> DeviceKeys {
    DeviceKeys::from_seed([number; 32])
}

fn secrets() -> UserSecrets {
    UserSecrets::first([100; 32])
}

/// A user with devices 1 and 2.
fn log() -> DeviceLog {
    let (secrets, one, two) = (secrets(), device(1), device(2));
    let new = |keys, seed| NewDevice { keys, label: "x", secrets: &secrets, seed };
    let recovery = RecoveryKey::from_seed([200; 32]).public();
    let genesis = genesis_record(&new(&one, [1; 32]), &recovery, 1).unwrap();
    let mut log = DeviceLog::genesis(&genesis).unwrap();
    let code = JoinCode {
        kind: JoinKind::Device,
        addresses: vec!["a:1".into()],
        cluster: ClusterId::from_bytes([1; 32]),
        secret: [9; 32],
    };
    log.append(&invitation_record(&log, &one.signing, &code, 9, 1).unwrap()).unwrap();
    log.append(&redeem_record(&log, &code, &new(&two, [2; 32]), 1).unwrap()).unwrap();
    log
}

fn folder(number: u8) -> FolderId {
    FolderId::from_bytes([number; 32])
}

fn held(number: u8, name: &str) -> KeyringFolder {
    KeyringFolder { keys: FolderKeys::new([number; 32], [number + 1; 32]), name: name.into() }
}

fn keyring(version: u64, folders: &[(u8, &str)]) -> Keyring {
    let folders =
        folders.iter().map(|(number, name)| (folder(*number), held(*number, name))).collect();
    Keyring { version, folders }
}

fn example() -> Keyring {
    keyring(4, &[(10, "Photos"), (20, "Notes")])
}

#[test]
fn a_sealed_keyring_opens_for_the_users_devices() {
    let log = log();
    let sealed = example().seal(&log, &secrets(), &device(2).signing).unwrap();
    let signer = device(2).device();
    let opened = OpenedKeyring { keyring: example(), signer, generation: 1 };
    assert_eq!(Keyring::open(&sealed, 4, &log, &secrets()), Ok(opened));
    assert!(!sealed.windows(6).any(|window| window == b"Photos"));
}

#[test]
fn a_keyring_that_does_not_hold_its_version_is_refused() {
    let log = log();
    let sealed = example().seal(&log, &secrets(), &device(1).signing).unwrap();
    let error = KeyringError::VersionMismatch { inside: 4, outside: 5 };
    assert_eq!(Keyring::open(&sealed, 5, &log, &secrets()), Err(error));
}

#[test]
fn a_device_that_is_not_enrolled_seals_no_keyring() {
    let error = KeyringError::Trust(TrustError::NotEnrolled(device(7).device()));
    assert_eq!(example().seal(&log(), &secrets(), &device(7).signing), Err(error));
}

#[test]
fn a_keyring_signed_by_a_device_that_was_never_listed_is_refused() {
    let log = log();
    let sealed = example().seal(&log, &secrets(), &device(1).signing).unwrap();
    let mut message = KeyringMessage::decode(&sealed[2 + Signature::LEN..]).unwrap();
    let forged = sign(Label::Keyring, &message.encode_to_vec(), &[&device(7).signing]);
    let error = KeyringError::Trust(TrustError::Signature);
    assert_eq!(Keyring::open(&forged, 4, &log, &secrets()), Err(error));
    message.signer = device(7).device().to_vec();
    let forged = sign(Label::Keyring, &message.encode_to_vec(), &[&device(7).signing]);
    let error = KeyringError::Trust(TrustError::NotEnrolled(device(7).device()));
    assert_eq!(Keyring::open(&forged, 4, &log, &secrets()), Err(error));
}

#[test]
fn a_keyring_of_a_device_revoked_since_opens_but_it_signs_no_later_head() {
    let mut log = log();
    let two = device(2);
    let sealed = example().seal(&log, &secrets(), &two.signing).unwrap();
    log.append(&revoke_record(&log, &device(1).signing, &two.device(), None, 2).unwrap()).unwrap();
    let opened = Keyring::open(&sealed, 4, &log, &secrets()).unwrap();
    assert!(!log.is_enrolled(&opened.signer));
    let mut message = KeyringMessage::decode(&sealed[2 + Signature::LEN..]).unwrap();
    message.device_log_head = log.head().to_vec();
    let forged = sign(Label::Keyring, &message.encode_to_vec(), &[&two.signing]);
    let error = KeyringError::Trust(TrustError::NotEnrolled(two.device()));
    assert_eq!(Keyring::open(&forged, 4, &log, &secrets()), Err(error));
}

#[test]
fn a_keyring_of_a_later_log_asks_to_read_on() {
    let behind = log();
    let mut ahead = behind.clone();
    let secrets_now = secrets();
    let rotation = Rotation { secrets: &secrets_now, secret: [101; 32], seed: [3; 32] };
    let record = generation_record(&behind, &device(1).signing, &rotation, 2).unwrap();
    ahead.append(&record).unwrap();
    let mut secrets = secrets();
    assert_eq!(
        example().seal(&ahead, &secrets, &device(1).signing),
        Err(KeyringError::Generation(2))
    );
    secrets.add(2, [101; 32]);
    let sealed = example().seal(&ahead, &secrets, &device(1).signing).unwrap();
    let error = Keyring::open(&sealed, 4, &behind, &secrets).unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error, KeyringError::UnknownHead);
    let error = Keyring::open(&sealed, 4, &ahead, &secrets_now).unwrap_err();
    assert_eq!(error, KeyringError::Generation(2));
    assert_eq!(Keyring::open(&sealed, 4, &ahead, &secrets).unwrap().generation, 2);
}

#[test]
fn another_users_keyring_or_secret_does_not_open() {
    let log = log();
    let sealed = example().seal(&log, &secrets(), &device(1).signing).unwrap();
    let stranger = UserSecrets::first([55; 32]);
    let error = KeyringError::Sealed(SealedError::Open);
    assert_eq!(Keyring::open(&sealed, 4, &log, &stranger), Err(error));
    let (secrets, one) = (secrets(), device(1));
    let new = NewDevice { keys: &one, label: "x", secrets: &secrets, seed: [77; 32] };
    let recovery = RecoveryKey::from_seed([200; 32]).public();
    let other = DeviceLog::genesis(&genesis_record(&new, &recovery, 1).unwrap()).unwrap();
    assert_eq!(Keyring::open(&sealed, 4, &other, &secrets), Err(KeyringError::WrongUser));
}

#[test]
fn merging_takes_over_what_is_missing() {
    let mut ours = keyring(4, &[(10, "Photos")]);
    let theirs = keyring(5, &[(20, "Notes")]);
    assert!(!ours.covers(&theirs));
    ours.merge(&theirs).unwrap();
    assert_eq!(ours, keyring(5, &[(10, "Photos"), (20, "Notes")]));
    assert!(ours.covers(&theirs));
    assert!(!theirs.covers(&ours));
}

#[test]
fn merging_an_emptied_keyring_takes_nothing_away() {
    let mut ours = example();
    ours.merge(&keyring(9, &[])).unwrap();
    assert_eq!(ours, Keyring { version: 9, ..example() });
}

#[test]
fn merging_takes_over_later_epochs_and_keeps_ones_own() {
    let mut longer = held(10, "Photos");
    longer.keys.add_epoch([77; 32]);
    let ahead = Keyring { version: 2, folders: BTreeMap::from([(folder(10), longer)]) };
    let behind = keyring(3, &[(10, "Photos")]);
    for (mut first, second) in [(ahead.clone(), behind.clone()), (behind.clone(), ahead.clone())] {
        first.merge(&second).unwrap();
        assert_eq!(first.folders, ahead.folders);
    }
    assert!(ahead.covers(&behind) && !behind.covers(&ahead));
}

#[test]
fn the_name_of_the_higher_version_wins() {
    let (old, new) = (keyring(4, &[(10, "Z")]), keyring(5, &[(10, "A")]));
    for (mut first, second) in [(old.clone(), new.clone()), (new.clone(), old)] {
        first.merge(&second).unwrap();
        assert_eq!(first, new);
    }
}

#[test]
fn contradicting_keys_are_refused_and_change_nothing() {
    let ours = keyring(4, &[(10, "Photos")]);
    let mut forged = keyring(9, &[(5, "New"), (10, "Photos")]);
    let other = FolderKeys::new([99; 32], [11; 32]);
    let mut other_epoch = forged.clone();
    forged.folders.insert(folder(10), KeyringFolder { keys: other, name: "Photos".into() });
    let keys = FolderKeys::new([10; 32], [99; 32]);
    other_epoch.folders.insert(folder(10), KeyringFolder { keys, name: "Photos".into() });
    for theirs in [forged, other_epoch] {
        let mut merged = ours.clone();
        assert_eq!(merged.merge(&theirs), Err(KeyringError::Contradiction(folder(10))));
        assert_eq!(merged, ours);
    }
}

#[test]
fn a_keyring_is_bounded() {
    let mut many = Keyring::default();
    for number in 0..=FOLDERS_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        many.folders.insert(FolderId::from_bytes(id), held(1, "x"));
    }
    let too_large = |error| matches!(error, KeyringError::TooLarge { unit: "folders", .. });
    assert!(too_large(many.seal(&log(), &secrets(), &device(1).signing).unwrap_err()));
    assert!(too_large(Keyring::default().merge(&many).unwrap_err()));
    let vast = vec![1; KEYRING_BYTES_MAX + 1];
    let error = Keyring::open(&vast, 1, &log(), &secrets()).unwrap_err();
    assert!(matches!(error, KeyringError::Trust(TrustError::TooLarge { .. })));
    let mut unnamed = example();
    unnamed.folders.insert(folder(1), held(1, "a\nb"));
    let error = unnamed.seal(&log(), &secrets(), &device(1).signing).unwrap_err();
    assert!(matches!(error, KeyringError::Name { source: LabelError::Control, .. }));
}

#[test]
fn malformed_secrets_are_refused() {
    let message = |constant: usize, epochs: &[(u32, usize)]| SecretMessage {
        version: 1,
        folders: vec![FolderMessage {
            folder: vec![1; 32],
            name: "x".into(),
            constant: vec![0; constant],
            epochs: epochs
                .iter()
                .map(|(epoch, size)| EpochMessage { epoch: *epoch, key: vec![0; *size] })
                .collect(),
        }],
    };
    let size = Err(KeyringError::KeySize(folder(1)));
    assert_eq!(Keyring::from_message(&message(31, &[(1, 32)])), size);
    assert_eq!(Keyring::from_message(&message(32, &[(1, 33)])), size);
    for epochs in [&[][..], &[(2, 32)], &[(1, 32), (1, 32)], &[(1, 32), (3, 32)]] {
        let error = Keyring::from_message(&message(32, epochs)).unwrap_err();
        assert!(matches!(error, KeyringError::Keys { .. }), "{error}");
    }
}

#[test]
fn keys_stay_out_of_debug_output() {
    let printed = format!("{:?}", keyring(1, &[(0xab, "x")]));
    let keys = printed.replace(&format!("{:?}", folder(0xab)), "");
    assert!(!keys.contains("171") && !keys.contains("abab"), "{keys}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_altered_byte_is_refused(at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let log = log();
        let mut sealed = example().seal(&log, &secrets(), &device(1).signing).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(Keyring::open(&sealed, 4, &log, &secrets()).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Keyring::open(&bytes, 1, &log(), &secrets()).is_err());
        let signed = sign(Label::Keyring, &bytes, &[&device(1).signing]);
        prop_assert!(Keyring::open(&signed, 1, &log(), &secrets()).is_err());
        if let Ok(message) = SecretMessage::decode(bytes.as_slice()) {
            let _ = Keyring::from_message(&message);
        }
    }
}
