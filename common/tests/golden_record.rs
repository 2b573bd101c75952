//! Golden bytes of every signed record, of the journal's chain and of the digest of registers.
//!
//! A failure here is a new version of a format, not a test to update: journals in the field hold
//! these bytes, and devices check chains and digests over them. Fields may be added: a sample then
//! stays as it is.

#![allow(clippy::unwrap_used, reason = "what these tests call takes no outside input")]

mod samples;

use common::ids::{
    ChunkId, ClusterId, ConflictId, DeviceId, EntryId, FolderId, Head, NodeId, RequestId, UserId,
};
use common::keys::SigningKey;
use common::record::{
    Change, ConflictRecord, Content, Group, Kind, RegisterDigest, Registers, Resolution,
    SignedGroup,
};
use common::revision::Cursor;
use common::trust::{Capability, ReceiptBatch, ReceiptItem};
use samples::{BIG, UNKNOWN_FIELD, conflict, content, golden, place, registers};

fn signing_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn group(changes: Vec<Change>) -> Group {
    Group {
        folder: FolderId::from_bytes([20; 32]),
        epoch: BIG + 1,
        user: UserId::from_bytes([21; 32]),
        device: signing_key().device(),
        request: RequestId { incarnation: BIG + 2, counter: BIG + 3 },
        seen_revision: BIG + 4,
        seen_head: Head::from_bytes([22; 32]),
        device_log_head: Head::from_bytes([23; 32]),
        changes,
    }
}

fn creation(number: u8, kind: Kind) -> Change {
    let entry = EntryId::from_bytes([number; 16]);
    Change::Create { entry, kind, place: place(), content: content() }
}

/// Pins the body of a group of one change, and reads it back.
fn changed(what: &str, change: Change, expected: &str) {
    let group = group(vec![change]);
    let signed = SignedGroup::sign(&group, &signing_key());
    golden(what, &signed.body, expected);
    assert_eq!(signed.verify(), Ok(group), "{what}");
}

#[test]
fn groups_of_every_change_to_an_entry_are_pinned() {
    let entry = EntryId::from_bytes([30; 16]);
    changed(
        "create directory",
        creation(30, Kind::Directory),
        "389 aff92dd23b0f5200a5cad705cde9c2ff44ccf0a363db2a983c41b35d3625e314",
    );
    changed(
        "create file",
        creation(30, Kind::File),
        "389 5b23997d5c3530893f21473a61c2960d0e48783e5f8e7338550a37923b510de8",
    );
    changed(
        "create symlink",
        creation(30, Kind::Symlink),
        "389 9240cd02ca02af302982d52d6bd0be996f742a91b8df0752e7e1293c7289b572",
    );
    let empty = Content { root: None, ..content() };
    changed(
        "edit to an empty file",
        Change::Edit { entry, base: 0, content: empty },
        "287 3f3c316aec6acec57ff723c81e6e810c7bb27c39398ca0c58c7c87da27901f41",
    );
    changed(
        "edit",
        Change::Edit { entry, base: BIG + 5, content: content() },
        "332 9387b235536281f77e5a6ba454362a1a2296fac50182fb4aba9aba50dc076672",
    );
    changed(
        "move",
        Change::Move { entry, base: BIG + 5, place: place() },
        "312 31dddd2099367c31f116be42f0b4b73a4f06403114dee168d76fd91b19bf1b18",
    );
    let delete = Change::Delete { entry, place_base: BIG + 5, content_base: BIG + 6 };
    changed(
        "delete",
        delete,
        "258 ed0980838feb9d803adb7214c660fd70e38a7d732c3cd6f4a9df001bd582b6e7",
    );
    changed(
        "revive",
        Change::Revive { entry, base: BIG + 5, place: place() },
        "312 5f0ce3abc463a37354f9f4a5cf2039721b5396a6954a61a03485e0ed5c645a46",
    );
}

#[test]
fn groups_about_conflicts_and_epochs_are_pinned() {
    let conflict = ConflictId::from_bytes([31; 16]);
    let open = |base| Change::OpenConflict {
        conflict,
        entry: EntryId::from_bytes([30; 16]),
        base,
        theirs: BIG + 6,
        copy: EntryId::from_bytes([32; 16]),
    };
    changed(
        "open conflict",
        open(Some(BIG + 5)),
        "294 a0a7498464a8f09a9bad90cb4d43624442327907dfa9b76b827054557ca5f6e3",
    );
    changed(
        "open conflict without base",
        open(None),
        "283 6349039a6a5e021102bebb7aa4e989cb7c1a759ae6ff64d6ab946ecc6ec91f83",
    );
    for (what, resolution, expected) in [
        (
            "keep original",
            Resolution::KeepOriginal,
            "238 581780ed193a9e99b6f47e202ebdea14243a4807f173a0d7286b24473ad76562",
        ),
        (
            "keep copy",
            Resolution::KeepCopy,
            "238 020a71492e9360e6d4679c9f7526748f766b48efa9f915991478d4f7a0b4c2a5",
        ),
        (
            "keep both",
            Resolution::KeepBoth,
            "238 81f4fd77d85f9391bc271b114b34e32cb296602801c18bd208a8abd0597361a3",
        ),
        (
            "gone",
            Resolution::Gone,
            "238 2be60ab837e9685a5bf86146adc8972a8cb13267a2478847bfb7371cab89ec24",
        ),
        (
            "merged",
            Resolution::Merged,
            "238 075ef610e826c35f7b9404d396106df0a5bbe816d33ffbbd7e6460e5f357d3c1",
        ),
    ] {
        changed(what, Change::ResolveConflict { conflict, resolution }, expected);
    }
    let cursor = |number| Cursor {
        epoch: BIG + 5,
        revision: BIG + u64::from(number),
        head: Head::from_bytes([number; 32]),
    };
    let confirm = Change::ConfirmEpoch { restored: cursor(33), highest: cursor(34) };
    changed(
        "confirm epoch",
        confirm,
        "334 4ebd1c694d7168dcd2946cc2c711d7a7017429183f35cde493986e98844d14e1",
    );
}

#[test]
fn a_group_of_a_newer_version_decodes_and_keeps_its_bytes() {
    let group = group(vec![creation(1, Kind::File)]);
    let body = [&SignedGroup::sign(&group, &signing_key()).body, UNKNOWN_FIELD].concat();
    let signature = signing_key().sign(&[&b"driftless group v1\0"[..], &body].concat());
    let newer = SignedGroup { body, signature };
    assert_eq!(newer.verify(), Ok(group));
    assert!(newer.body.ends_with(UNKNOWN_FIELD));
}

#[test]
fn the_chain_over_two_groups_is_pinned() {
    let folder = FolderId::from_bytes([20; 32]);
    let delete =
        Change::Delete { entry: EntryId::from_bytes([30; 16]), place_base: 1, content_base: 1 };
    let first = SignedGroup::sign(&group(vec![creation(30, Kind::File)]), &signing_key());
    let second = SignedGroup::sign(&group(vec![creation(31, Kind::File), delete]), &signing_key());
    golden(
        "signature",
        first.signature.as_bytes(),
        "4f943bfb0d4fc80c1819e80b7e4d17fb7f4df3104efd978f5a921f239830e9e323f338ad52eef8867408794663a898e946593c63e4588027870d99497695a806",
    );
    golden(
        "signature of two changes",
        second.signature.as_bytes(),
        "f22dfbc6ecffb06b540bec8550a2d5c7ebf6d2971103ce1b1e9a76a34aac5c3df5250dd7acc9efc2727b4f7e57767bed813d4d37aa16aba84229c419b6f5d900",
    );
    let digest = first.digest(BIG + 1);
    golden(
        "digest",
        digest.as_bytes(),
        "0c3e860b8c95b494a508b76c2b0342515b429218e94fcfa3d5d3a99c866e3d39",
    );
    let head = Head::ZERO.next(&folder, 1, 1, &digest);
    golden(
        "first head",
        head.as_bytes(),
        "3d914a52872648892ea16fa43829304e004bad38b0c0f5ca58e3669bd397c3fb",
    );
    let head = head.next(&folder, 2, BIG + 2, &second.digest(BIG + 3));
    golden(
        "second head",
        head.as_bytes(),
        "7244919ce679534d2318a83a90ca6b1710c7a220942932480abfcb4ab617beb0",
    );
}

#[test]
fn the_digest_of_registers_is_pinned() {
    let digest = || RegisterDigest::new(&FolderId::from_bytes([20; 32]));
    golden(
        "digest of nothing",
        digest().finish().as_bytes(),
        "5b1c202dcd51fa199cdb0a8100b636bc4d5fd9f9c0cca1cd69c843a7b84084eb",
    );
    let (first, conflict) = (registers(), conflict());
    let place = RegisterDigest::place(&first.entry, first.kind, first.place_revision, &first.place);
    golden(
        "place",
        place.as_bytes(),
        "67c26cd42b9d31a8c6e58b5a69c5ffcf897d67462f4b2420da37482554084fe4",
    );
    let content = RegisterDigest::content(&first.entry, first.content_revision, &first.content);
    golden(
        "content",
        content.as_bytes(),
        "82ccd1e6aa034a3d8ec65a761c2578db4a174c477c16a625f9735c2caa6fd674",
    );
    let row = RegisterDigest::row(&first);
    golden(
        "row",
        row.as_bytes(),
        "57dcbf0de445b644d0c8f9d8e54952c6a7df14e3c6148272a7347c26935e2943",
    );
    assert_eq!(row, RegisterDigest::combine(&place, &content));
    let second = Registers {
        entry: EntryId::from_bytes([9; 16]),
        kind: Kind::Directory,
        content: Content { root: None, ..first.content.clone() },
        ..first.clone()
    };
    let mut digest = digest();
    digest.entry(&first.entry, &row);
    digest.entry(&second.entry, &RegisterDigest::row(&second));
    digest.conflict(&conflict);
    digest.conflict(&ConflictRecord { base: None, ..conflict });
    golden(
        "digest of all",
        digest.finish().as_bytes(),
        "ad7d375cdd0310be7aee0f855c9ca6ee17c8d00ad9be7ee060c2aa4522fbaa15",
    );
}

#[test]
fn receipts_and_capabilities_of_large_numbers_are_pinned() {
    let key = signing_key();
    let receipts = ReceiptBatch {
        folder: FolderId::from_bytes([20; 32]),
        node: NodeId::from_bytes(key.public()),
        layout: BIG + 1,
        generation: BIG + 2,
        items: vec![
            ReceiptItem { id: ChunkId::from_bytes([5; 32]), length: 70_000, new: true },
            ReceiptItem { id: ChunkId::from_bytes([6; 32]), length: 1, new: false },
        ],
    };
    let bytes = receipts.sign(&key);
    golden(
        "receipts",
        &bytes,
        "238 74df48c1b9316f3b21827eb4f7c1698f9bfb066fe85b759ecaa996ed426c0c35",
    );
    assert_eq!(ReceiptBatch::open(&bytes), Ok(receipts));
    let cluster = ClusterId::from_bytes(key.public());
    for (what, read, expected) in [
        ("to read", true, "205 b5ef29a94977b6c11782c4d7a6f508b2ee6dd0443328addf42d2069b57cbe8c5"),
        ("to write", false, "205 fdc6bd8660e1612d5875687b51addf9055adb6a739de277968034caa08c5aa48"),
    ] {
        let capability = Capability {
            cluster,
            device: DeviceId::from_bytes([12; 32]),
            folder: FolderId::from_bytes([20; 32]),
            read,
            write: !read,
            bytes_max: BIG + 1,
            expires_ms: BIG + 2,
            key_id: BIG + 3,
        };
        let bytes = capability.sign(&key);
        golden(what, &bytes, expected);
        assert_eq!(Capability::open(&bytes, &cluster), Ok(capability));
    }
}
