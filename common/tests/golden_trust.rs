//! Golden bytes of every trust document: a change of one is a new version of its format, and has to
//! read what is stored in the old one.
//!
//! Each document is made from fixed seeds and compared by hash; short ones are spelled out.

#![allow(clippy::unwrap_used, reason = "a test's own documents")]

use common::ids::{ChunkId, ClusterId, DeviceId, FolderId, Head, NodeId, UserId};
use common::keys::{
    AgreementKey, DeviceKeys, FolderKeys, Keyring, KeyringFolder, RecoveryKey, SigningKey,
    UserSecrets, seal_to,
};
use common::revision::Cursor;
use common::trust::{
    Capability, Checkpoint, DeviceLog, FolderGenesis, InvitationBlob, InvitedFolder, JoinCode,
    JoinKind, NewDevice, ReceiptBatch, ReceiptItem, Rotation, generation_record, genesis_record,
    invitation_record, redeem_record, revoke_record, void_record,
};
use std::collections::BTreeMap;

/// Compares the length and BLAKE3-256 of a document with what they always were.
fn golden(document: &str, bytes: &[u8], length: usize, hash: &str) {
    assert_eq!(
        (bytes.len(), blake3::hash(bytes).to_hex().as_str()),
        (length, hash),
        "the bytes of {document} have changed"
    );
}

fn device(number: u8) -> DeviceKeys {
    DeviceKeys::from_seed([number; 32])
}

fn secrets() -> UserSecrets {
    UserSecrets::first([100; 32])
}

fn recovery() -> RecoveryKey {
    RecoveryKey::from_seed([200; 32])
}

fn code(secret: u8) -> JoinCode {
    JoinCode {
        kind: JoinKind::Device,
        addresses: vec!["192.0.2.7:4747".into(), "sync.example:4747".into()],
        cluster: ClusterId::from_bytes(SigningKey::from_seed([50; 32]).public()),
        secret: [secret; 32],
    }
}

/// The first record of the log, and the log that it begins.
fn genesis() -> (Vec<u8>, DeviceLog) {
    let (keys, secrets) = (device(1), secrets());
    let new = NewDevice { keys: &keys, label: "laptop", secrets: &secrets, seed: [1; 32] };
    let record = genesis_record(&new, &recovery().public(), 1_000).unwrap();
    let log = DeviceLog::genesis(&record).unwrap();
    (record, log)
}

#[test]
fn derived_keys_are_pinned() {
    let keys = device(1);
    assert_eq!(
        keys.device().to_string(),
        "8731d2dc14f2c456355c99983a2064a8dffe7ed5b027fffc1a75287d1afc56d2"
    );
    golden(
        "agreement public key",
        keys.agreement.public(),
        32,
        "7e99b4be2e3a81fa4c980b7d4d170a780ea21bc2980031da7b16c9831f3fa08c",
    );
    golden(
        "recovery agreement key",
        &recovery().public().agreement,
        32,
        "63c5b3254c51ef5a2b398fb4629c00bf6dda6964fcabe1e2d6a83975f7d6528e",
    );
    golden(
        "recovery signing key",
        &recovery().public().signing,
        32,
        "4f43e185b75b9beac82c46ebf2613aeeed44577004a58fac88a8d8fe07f80c31",
    );
    assert_eq!(
        recovery().print().as_str(),
        "driftless-recovery-400chj68s34chj68s34chj68s34chj68s34chj68s34chj68s34chj62nyd2y"
    );
    golden(
        "lookup",
        code(9).lookup().as_bytes(),
        16,
        "375058e6deb09d7f0a53278865283993d11f474139d27f0c0bca665a6fe7111d",
    );
    golden(
        "invitation key",
        &code(9).signing_key().public(),
        32,
        "f8e95bbd7c72a4b07aaa78b91eaced1c5341c287271f379e3790375393637e04",
    );
    golden(
        "wrap key",
        &*code(9).wrap_key(),
        32,
        "6747774b8a4ecc480b64801a77aec31914db08f09df9d9f97c5b2f7ff379d97c",
    );
}

#[test]
fn a_join_code_is_pinned() {
    assert_eq!(
        code(9).to_string(),
        "driftless-dc00g08g08d20qh15g4r1s5kkz09e88k9ag2229q9vfx4r60tf83sd81s3b58nx948g0j289144gj289144gj289144gj289144gj289144gj289144gj29a1rrkjche60q34bhq78t3ed1q588q6ybeccq6ay31dnr6rs9t6gvk8dt0mb4k2"
    );
}

#[test]
fn a_sealed_box_is_pinned() {
    let recipient = AgreementKey::from_seed([1; 32]);
    let sealed = seal_to(recipient.public(), &[2; 32], b"purpose", &[3; 32]).unwrap();
    golden(
        "sealed box",
        &sealed,
        80,
        "5b4757e589873b83b7836e339bc4de3dd771ea5e1eec99c03aaea9a8c0e95526",
    );
}

#[test]
fn device_log_records_are_pinned() {
    let (record, mut log) = genesis();
    golden(
        "genesis",
        &record,
        608,
        "e7ffd6d00d8d7bd0170238df27bf995e17b457e05ee68204934dcdb7eab66283",
    );
    assert_eq!(
        log.user().to_string(),
        "f2d759207c64fb4230e9c33db08710d550966cb3be984eec67961bfed6dce1d6"
    );
    assert_eq!(
        log.head().to_string(),
        "31112c9f1afdff3d33d0ae8bbfae1f24bcec7b73beefb545a7338b2312430129"
    );
    let (one, two, secrets) = (device(1), device(2), secrets());

    let open = invitation_record(&log, &one.signing, &code(9), 61_000, 1_001).unwrap();
    golden(
        "invitation opened",
        &open,
        201,
        "cc2af5f9f29d412f7774b565702f3d625a2234ff4d73f6032de9bd538ac2ce92",
    );
    log.append(&open).unwrap();

    let new = NewDevice { keys: &two, label: "phone", secrets: &secrets, seed: [2; 32] };
    let redeem = redeem_record(&log, &code(9), &new, 1_002).unwrap();
    golden(
        "device added",
        &redeem,
        433,
        "009b1b9b74ac4f9b559db0768e1b153c8864cccc7f9b6b3d2b7fb8e60ebbbc54",
    );
    log.append(&redeem).unwrap();

    let open = invitation_record(&log, &one.signing, &code(10), 61_000, 1_003).unwrap();
    log.append(&open).unwrap();
    let void = void_record(&log, &two.signing, &code(10).lookup(), 1_004).unwrap();
    golden(
        "invitation voided",
        &void,
        161,
        "e4a37adc91a7d0c0ed3a9bc0fe14051d28609254ddb426415db08e8afdc04f2b",
    );
    log.append(&void).unwrap();

    let plain = revoke_record(&log, &one.signing, &two.device(), None, 1_005).unwrap();
    golden(
        "device revoked",
        &plain,
        177,
        "d531d399854fc6e8f7aecae2da3a88db5718850a11c4c0f5cfe73c8128001293",
    );
    let rotation = Rotation { secrets: &secrets, secret: [101; 32], seed: [3; 32] };
    let renew = generation_record(&log, &one.signing, &rotation, 1_005).unwrap();
    golden(
        "secret generation",
        &renew,
        586,
        "6006f253cb866fca29227bf2a5cd7b4c844c38fe4e30173a308d2278f6102cfc",
    );
    let revoke = revoke_record(&log, &one.signing, &two.device(), Some(&rotation), 1_005).unwrap();
    golden(
        "device revoked with rotation",
        &revoke,
        505,
        "2713d8561f777c10ad92a7906b3a9766383a57398bfe336c5914678bf38c610e",
    );
    log.append(&revoke).unwrap();
    assert_eq!(
        log.head().to_string(),
        "42d4c3d2170e192b123cac636c727f02be83c7050eedf0d50e2ae84305bd1d92"
    );
}

#[test]
fn an_invitation_blob_is_pinned() {
    let (_, log) = genesis();
    let blob = InvitationBlob {
        user: log.user(),
        device_log_head: log.head(),
        device_log_len: log.len(),
        keyring_version: 3,
        user_secrets: secrets(),
        folders: vec![InvitedFolder {
            folder: FolderId::from_bytes([6; 32]),
            name: "Photos".into(),
            checkpoint: vec![7; 20],
        }],
        invited: Some(FolderId::from_bytes([6; 32])),
    };
    golden(
        "invitation blob",
        &blob.seal(&code(9).wrap_key()).unwrap(),
        304,
        "51f1a5182f0fcb7ff0a14e0b6b1788e0c57987c46f32945c8e6afd58f23d6234",
    );
}

#[test]
fn a_keyring_is_pinned() {
    let (_, log) = genesis();
    let mut keys = FolderKeys::new([11; 32], [12; 32]);
    keys.add_epoch([13; 32]);
    let folder = KeyringFolder { keys, name: "Photos".into() };
    let folders = BTreeMap::from([(FolderId::from_bytes([6; 32]), folder)]);
    let keyring = Keyring { version: 4, folders };
    let sealed = keyring.seal(&log, &secrets(), &device(1).signing).unwrap();
    golden(
        "keyring",
        &sealed,
        479,
        "6c64964290311936218039e37c870b316fb1638b444562d1ce6afc30d00e3318",
    );
}

#[test]
fn signed_documents_are_pinned() {
    let keys = device(1);
    let genesis = FolderGenesis {
        user: UserId::from_bytes([1; 32]),
        device: keys.device(),
        nonce: [2; 32],
        created_ms: 3,
    };
    let bytes = genesis.sign(&keys.signing);
    golden(
        "folder genesis",
        &bytes,
        172,
        "a4b1f15b075ef4a4228fdff90ffa4c2d4710d1d1ac06fd31d97e665f4cb081db",
    );
    assert_eq!(
        FolderGenesis::id(&bytes).to_string(),
        "210fad81c13519bb98d55239099f7de3cb117a4089c0e3781b42cab194dc0f23"
    );

    let checkpoint = Checkpoint {
        folder: FolderId::from_bytes([4; 32]),
        cursor: Cursor { epoch: 1, revision: 5, head: Head::from_bytes([6; 32]) },
        digest: Head::from_bytes([7; 32]),
        device: keys.device(),
    };
    golden(
        "checkpoint",
        &checkpoint.sign(&keys.signing),
        208,
        "52180a9bfbf3a50c64c85d3bba5f11351b1f5e238b4377137e2f5112407ab1ca",
    );

    let node = SigningKey::from_seed([8; 32]);
    let receipts = ReceiptBatch {
        folder: FolderId::from_bytes([4; 32]),
        node: NodeId::from_bytes(node.public()),
        layout: 1,
        generation: 2,
        items: vec![ReceiptItem { id: ChunkId::from_bytes([9; 32]), length: 70_000, new: true }],
    };
    golden(
        "receipts",
        &receipts.sign(&node),
        182,
        "91a8021f6e9d6f73d215458b2552a1c5a31a3244a95d9bb6796daa671b1f60ee",
    );

    let cluster = SigningKey::from_seed([50; 32]);
    let capability = Capability {
        cluster: ClusterId::from_bytes(cluster.public()),
        device: DeviceId::from_bytes([1; 32]),
        folder: FolderId::from_bytes([4; 32]),
        read: true,
        write: true,
        bytes_max: 1 << 40,
        expires_ms: 1_700_000_000_000,
        key_id: 1,
    };
    golden(
        "capability",
        &capability.sign(&cluster),
        190,
        "3aff4e4566ef8ba8912f5853f486bbeabc7c0c9b5021228108537c8ffd4cab25",
    );
}
