//! The rules of the device log, one named test each: here the chain, its signers and devices; the
//! submodules hold those of invitations and of the user secret.

mod invitations;
mod secrets;

use super::record::{Generation, Record, What};
use super::*;
use crate::ids::{ClusterId, Signature};
use crate::keys::{DeviceKeys, RecoveryKey, SigningKey};
use crate::limits::{
    DEVICES_MAX, INVITATION_LIFE_MS_MAX, INVITATIONS_OPEN_MAX, LOG_BYTES_MAX, LOG_RECORD_BYTES_MAX,
    LOG_RECORDS_FOR_REVOCATIONS, LOG_RECORDS_MAX,
};
use crate::trust::signed::{Label, sign};
use crate::trust::{InvitationBlob, JoinCode};
use proptest::prelude::*;

/// When the log began, and how long invitations of these tests live.
const BEGAN_MS: u64 = 1_000;
const LIFE_MS: u64 = 60_000;

fn keys(number: u8) -> DeviceKeys {
    DeviceKeys::from_seed([number; 32])
}

fn recovery() -> RecoveryKey {
    RecoveryKey::from_seed([200; 32])
}

fn code_of(kind: JoinKind, number: u8) -> JoinCode {
    JoinCode {
        kind,
        addresses: vec!["127.0.0.1:4747".into()],
        cluster: ClusterId::from_bytes([1; 32]),
        secret: [number; 32],
    }
}

fn code(number: u8) -> JoinCode {
    code_of(JoinKind::Device, number)
}

/// A user with device 1, its secrets and the records of its log.
#[derive(Clone)]
struct User {
    log: DeviceLog,
    secrets: UserSecrets,
    records: Vec<Vec<u8>>,
}

impl User {
    fn new() -> Self {
        let secrets = UserSecrets::first([100; 32]);
        let first = keys(1);
        let new = NewDevice { keys: &first, label: "first", secrets: &secrets, seed: [1; 32] };
        let record = genesis_record(&new, &recovery().public(), BEGAN_MS).unwrap();
        Self { log: DeviceLog::genesis(&record).unwrap(), secrets, records: vec![record] }
    }

    fn accept(&mut self, record: Vec<u8>) -> LogEvent {
        let event = self.log.append(&record).unwrap();
        self.records.push(record);
        event
    }

    fn open(&mut self, number: u8) -> LogEvent {
        let signer = keys(1).signing;
        let expires_ms = BEGAN_MS + LIFE_MS;
        let code = code(number);
        self.accept(invitation_record(&self.log, &signer, &code, expires_ms, BEGAN_MS).unwrap())
    }

    fn redeem(&self, code: &JoinCode, device: u8, time_ms: u64) -> Result<Vec<u8>, TrustError> {
        let keys = keys(device);
        let new =
            NewDevice { keys: &keys, label: "other", secrets: &self.secrets, seed: [device; 32] };
        redeem_record(&self.log, code, &new, time_ms)
    }

    /// Invites and adds a device; the code has the device's number.
    fn add(&mut self, device: u8) {
        self.open(device);
        let record = self.redeem(&code(device), device, BEGAN_MS + 1).unwrap();
        self.accept(record);
    }

    fn revoke(&mut self, signer: u8, device: u8) -> LogEvent {
        let record =
            revoke_record(&self.log, &keys(signer).signing, &keys(device).device(), None, 5);
        self.accept(record.unwrap())
    }

    /// A record with this content, whoever signs it, whether the rules allow it or not.
    fn forge(&self, what: What, signers: &[&SigningKey]) -> Vec<u8> {
        let (index, prev) = (self.log.len(), self.log.head());
        let record = Record { index, prev, time_ms: BEGAN_MS, what };
        sign(Label::DeviceLog, &record.encode(), signers)
    }

    /// Checks that a record is refused and leaves the log as it was.
    fn refuses(&self, record: &[u8], error: TrustError) {
        let mut log = self.log.clone();
        assert_eq!(log.append(record), Err(error));
        assert_eq!(log, self.log);
    }

    fn rotation(&self, secret: u8) -> Rotation<'_> {
        Rotation { secrets: &self.secrets, secret: [secret; 32], seed: [secret; 32] }
    }
}

/// A log in which everything happened once.
fn eventful() -> User {
    let mut user = User::new();
    user.add(2);
    user.add(3);
    user.open(40);
    let void = void_record(&user.log, &keys(2).signing, &code(40).lookup(), 3).unwrap();
    user.accept(void);
    user.open(41);
    let rotation = user.rotation(101);
    let revoke =
        revoke_record(&user.log, &keys(2).signing, &keys(3).device(), Some(&rotation), 4).unwrap();
    user.accept(revoke);
    user.secrets.add(2, [101; 32]);
    let rotation = user.rotation(102);
    let renew = generation_record(&user.log, &keys(1).signing, &rotation, 5).unwrap();
    user.accept(renew);
    user.secrets.add(3, [102; 32]);
    user
}

#[test]
fn the_first_device_of_a_genesis_is_enrolled() {
    let user = User::new();
    let first = keys(1).device();
    assert!(user.log.is_enrolled(&first));
    assert_eq!(user.log.len(), 1);
    assert_eq!(user.log.device(&first).unwrap().label(&user.secrets), Ok("first".into()));
    assert_eq!(user.log.recovery(), &recovery().public());
    assert_eq!(user.log.generation(), 1);
}

#[test]
fn users_of_other_seeds_have_other_ids() {
    let secrets = UserSecrets::first([100; 32]);
    let first = keys(1);
    let new = NewDevice { keys: &first, label: "first", secrets: &secrets, seed: [9; 32] };
    let record = genesis_record(&new, &recovery().public(), BEGAN_MS).unwrap();
    assert_ne!(DeviceLog::genesis(&record).unwrap().user(), User::new().log.user());
}

#[test]
fn a_genesis_signed_by_another_key_is_refused() {
    let user = User::new();
    let body = &user.records[0][2 + Signature::LEN..];
    let forged = sign(Label::DeviceLog, body, &[&keys(2).signing]);
    assert_eq!(DeviceLog::genesis(&forged), Err(TrustError::Signature));
}

#[test]
fn a_log_begins_with_a_genesis_and_has_no_other() {
    let mut user = User::new();
    user.open(9);
    assert_eq!(DeviceLog::genesis(&user.records[1]), Err(TrustError::GenesisExpected));
    assert_eq!(DeviceLog::replay([]), Err(TrustError::GenesisExpected));
    user.refuses(&user.records[0], TrustError::GenesisRepeated);
}

#[test]
fn a_genesis_whose_secret_is_not_sealed_to_both_is_refused() {
    let user = User::new();
    let Record { what: What::Genesis(genesis), .. } =
        Record::decode(&user.records[0][2 + Signature::LEN..]).unwrap()
    else {
        panic!("not a genesis");
    };
    let forged = |what: What| {
        let record = Record { index: 0, prev: Head::ZERO, time_ms: 1, what };
        DeviceLog::genesis(&sign(Label::DeviceLog, &record.encode(), &[&keys(1).signing]))
    };
    let mut lonely = genesis.clone();
    lonely.secret.boxes.remove(&recovery().public().agreement);
    assert_eq!(forged(What::Genesis(lonely)), Err(TrustError::Recipients));
    let mut one_key = genesis.clone();
    one_key.recovery.agreement = one_key.device.agreement;
    assert_eq!(forged(What::Genesis(one_key)), Err(TrustError::DeviceKnown(keys(1).device())));
    let mut late = genesis;
    late.secret.number = 0;
    let error = TrustError::Generation { expected: 1, actual: 0 };
    assert_eq!(forged(What::Genesis(late)), Err(error));
}

#[test]
fn replaying_the_records_gives_the_same_state() {
    let user = eventful();
    let records = user.records.iter().map(Vec::as_slice);
    assert_eq!(DeviceLog::replay(records).as_ref(), Ok(&user.log));
}

#[test]
fn a_record_of_a_device_that_is_not_listed_is_refused() {
    let user = User::new();
    let stranger = keys(7);
    let error = TrustError::NotEnrolled(stranger.device());
    let made = invitation_record(&user.log, &stranger.signing, &code(9), BEGAN_MS + 1, BEGAN_MS);
    assert_eq!(made, Err(error));
}

#[test]
fn a_record_signed_by_another_than_it_names_is_refused() {
    let mut user = User::new();
    user.add(2);
    let what = What::DeviceRevoked {
        signer: keys(1).device(),
        device: keys(2).device(),
        secret: None,
        epochs: BTreeMap::new(),
    };
    user.refuses(&user.forge(what.clone(), &[&keys(2).signing]), TrustError::Signature);
    user.refuses(&user.forge(what.clone(), &[]), TrustError::Signature);
    let both = [&keys(1).signing, &keys(2).signing];
    user.refuses(&user.forge(what, &both), TrustError::Signature);
}

#[test]
fn a_revoked_device_signs_nothing_more() {
    let mut user = User::new();
    user.add(2);
    user.revoke(1, 2);
    let revoked = keys(2);
    assert!(!user.log.is_enrolled(&revoked.device()));
    assert!(user.log.was_enrolled(&revoked.device()));
    let error = TrustError::NotEnrolled(revoked.device());
    let made = invitation_record(&user.log, &revoked.signing, &code(9), BEGAN_MS + 1, BEGAN_MS);
    assert_eq!(made, Err(error.clone()));
    let made = revoke_record(&user.log, &revoked.signing, &keys(1).device(), None, 1);
    assert_eq!(made, Err(error.clone()));
    let made = generation_record(&user.log, &revoked.signing, &user.rotation(9), 1);
    assert_eq!(made, Err(error.clone()));
    user.open(9);
    let made = void_record(&user.log, &revoked.signing, &code(9).lookup(), 1);
    assert_eq!(made, Err(error));
}

#[test]
fn a_revoked_device_never_returns() {
    let mut user = User::new();
    user.add(2);
    user.revoke(1, 2);
    user.open(9);
    let again = user.redeem(&code(9), 2, BEGAN_MS);
    assert_eq!(again, Err(TrustError::DeviceKnown(keys(2).device())));
}

#[test]
fn a_device_that_is_not_enrolled_is_not_revoked() {
    let mut user = User::new();
    user.add(2);
    user.revoke(1, 2);
    for number in [2, 7] {
        let device = keys(number).device();
        let made = revoke_record(&user.log, &keys(1).signing, &device, None, 1);
        assert_eq!(made, Err(TrustError::NotEnrolled(device)));
    }
}

#[test]
fn a_device_may_revoke_itself_unless_it_is_the_only_one() {
    let mut user = User::new();
    user.add(2);
    user.revoke(2, 2);
    let made = revoke_record(&user.log, &keys(1).signing, &keys(1).device(), None, 1);
    assert_eq!(made, Err(TrustError::LastDevice));
}

#[test]
fn devices_are_bounded_revoked_ones_included() {
    let mut user = User::new();
    user.open(9);
    let pattern = user.log.device(&keys(1).device()).unwrap().clone();
    for number in 1..DEVICES_MAX {
        let mut bytes = [255; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let id = DeviceId::from_bytes(bytes);
        let device = DeviceRecord { id, agreement: bytes, revoked_at: Some(1), ..pattern.clone() };
        user.log.devices.insert(id, device);
    }
    let error = user.redeem(&code(9), 2, BEGAN_MS).unwrap_err();
    assert!(matches!(error, TrustError::TooLarge { field: "devices", .. }), "{error}");
}

#[test]
fn records_are_bounded_in_number_and_size() {
    let mut user = User::new();
    user.add(2);
    user.log.heads = vec![user.log.head(); LOG_RECORDS_MAX];
    let (one, two) = (keys(1).signing, keys(2).device());
    let error = revoke_record(&user.log, &one, &two, None, 5).unwrap_err();
    assert!(matches!(error, TrustError::TooLarge { field: "device log records", .. }), "{error}");
    let vast = vec![1; LOG_RECORD_BYTES_MAX + 1];
    let error = DeviceLog::genesis(&vast).unwrap_err();
    assert!(matches!(error, TrustError::TooLarge { field: "document bytes", .. }), "{error}");
}

#[test]
fn the_last_records_of_a_log_are_kept_for_revocations() {
    let mut user = User::new();
    for device in 2..5 {
        user.add(device);
    }
    let invite = |log: &DeviceLog| {
        invitation_record(log, &keys(1).signing, &code(9), BEGAN_MS + 1, BEGAN_MS)
    };
    let open_to_all = LOG_RECORDS_MAX - LOG_RECORDS_FOR_REVOCATIONS;
    user.log.heads = vec![user.log.head(); open_to_all - 1];
    let last = invite(&user.log).unwrap();
    user.accept(last);
    assert_eq!(user.log.len(), open_to_all as u64);
    assert_eq!(invite(&user.log), Err(TrustError::LogFull));
    let void = void_record(&user.log, &keys(2).signing, &code(9).lookup(), 3);
    assert_eq!(void, Err(TrustError::LogFull));
    let renew = generation_record(&user.log, &keys(1).signing, &user.rotation(101), 5);
    assert_eq!(renew, Err(TrustError::LogFull));
    user.revoke(1, 2);
    // The last number of all is a revocation's too.
    user.log.heads = vec![user.log.head(); LOG_RECORDS_MAX - 1];
    user.revoke(1, 3);
    assert!(!user.log.is_enrolled(&keys(3).device()));
}

#[test]
fn a_log_of_many_bytes_takes_only_revocations() {
    let mut user = User::new();
    user.add(2);
    let invite = |log: &DeviceLog| {
        invitation_record(log, &keys(1).signing, &code(9), BEGAN_MS + 1, BEGAN_MS)
    };
    let bytes: usize = user.records.iter().map(Vec::len).sum();
    assert_eq!(user.log.bytes, bytes as u64);
    let record = invite(&user.log).unwrap();
    user.log.bytes = LOG_BYTES_MAX - record.len() as u64;
    assert_eq!(invite(&user.log), Ok(record));
    user.log.bytes += 1;
    assert_eq!(invite(&user.log), Err(TrustError::LogFull));
    user.log.bytes = LOG_BYTES_MAX;
    user.revoke(1, 2);
    assert!(user.log.bytes > LOG_BYTES_MAX);
}

#[test]
fn a_replayed_record_is_refused() {
    let mut user = User::new();
    user.open(9);
    user.refuses(&user.records[1], TrustError::WrongHead);
}

#[test]
fn reordered_or_missing_records_are_refused() {
    let user = eventful();
    let count = user.records.len();
    for at in 1..count - 1 {
        let mut swapped: Vec<_> = user.records.iter().map(Vec::as_slice).collect();
        swapped.swap(at, at + 1);
        assert_eq!(DeviceLog::replay(swapped), Err(TrustError::WrongHead));
        let mut missing: Vec<_> = user.records.iter().map(Vec::as_slice).collect();
        missing.remove(at);
        assert_eq!(DeviceLog::replay(missing), Err(TrustError::WrongHead));
    }
}

#[test]
fn a_fork_is_refused_and_told_by_its_head() {
    let mut left = User::new();
    let mut right = left.clone();
    left.open(8);
    right.open(9);
    assert_ne!(left.log.head(), right.log.head());
    left.refuses(&right.records[1], TrustError::WrongHead);
    assert_eq!(left.log.len_at(&right.log.head()), None);
    assert_ne!(left.log.head_at(2), Some(right.log.head()));
    assert_eq!(left.log.head_at(1), right.log.head_at(1));
    assert!(TrustError::WrongHead.is_retryable());
}

#[test]
fn a_record_of_another_users_log_is_refused() {
    let mut user = User::new();
    let secrets = UserSecrets::first([100; 32]);
    let first = keys(1);
    let new = NewDevice { keys: &first, label: "first", secrets: &secrets, seed: [9; 32] };
    let genesis = genesis_record(&new, &recovery().public(), BEGAN_MS).unwrap();
    let other = DeviceLog::genesis(&genesis).unwrap();
    user.open(9);
    let foreign =
        invitation_record(&other, &first.signing, &code(8), BEGAN_MS + 1, BEGAN_MS).unwrap();
    user.refuses(&foreign, TrustError::WrongHead);
}

#[test]
fn a_record_that_says_another_position_is_refused() {
    let mut user = User::new();
    user.open(9);
    let signer = keys(1).signing;
    let what = What::InvitationVoided { signer: signer.device(), lookup: code(9).lookup() };
    let record = Record { index: 7, prev: user.log.head(), time_ms: 1, what };
    let bytes = sign(Label::DeviceLog, &record.encode(), &[&signer]);
    user.refuses(&bytes, TrustError::WrongIndex { expected: 2, actual: 7 });
}

#[test]
fn whether_a_device_was_enrolled_is_told_for_every_head() {
    let mut user = User::new();
    let before = user.log.head();
    user.add(2);
    let during = user.log.head();
    user.revoke(1, 2);
    let after = user.log.head();
    let device = keys(2).device();
    assert!(!user.log.was_enrolled_at(&device, &before));
    assert!(user.log.was_enrolled_at(&device, &during));
    assert!(!user.log.was_enrolled_at(&device, &after));
    assert!(!user.log.was_enrolled_at(&device, &Head::from_bytes([9; 32])));
    assert!(!user.log.was_enrolled_at(&keys(7).device(), &during));
    assert_eq!(user.log.len_at(&during), Some(3));
    assert_eq!(user.log.head_at(3), Some(during));
    assert_eq!(user.log.head_at(0), None);
}

#[test]
fn records_are_deterministic() {
    assert_eq!(eventful().records, eventful().records);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_altered_byte_anywhere_in_a_log_is_refused(
        number in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let user = eventful();
        let mut records = user.records;
        let record = number.get_mut(&mut records);
        let at = at.index(record.len());
        record[at] ^= 1 << bit;
        prop_assert!(DeviceLog::replay(records.iter().map(Vec::as_slice)).is_err());
    }

    #[test]
    fn a_cut_record_is_refused(
        number in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
    ) {
        let user = eventful();
        let mut records = user.records;
        let record = number.get_mut(&mut records);
        record.truncate(at.index(record.len()));
        prop_assert!(DeviceLog::replay(records.iter().map(Vec::as_slice)).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(DeviceLog::genesis(&bytes).is_err());
        prop_assert!(User::new().log.append(&bytes).is_err());
        let signed = sign(Label::DeviceLog, &bytes, &[&keys(1).signing]);
        prop_assert!(DeviceLog::genesis(&signed).is_err());
        prop_assert!(User::new().log.append(&signed).is_err());
    }
}
