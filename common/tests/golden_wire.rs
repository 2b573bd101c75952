//! Golden bytes of every message between devices and servers, in the frame that it is sent in.
//!
//! A failure here is a change of protocol, not a test to update: devices and servers of other ages
//! talk to each other. Fields may be added: a sample then stays as it is.

#![allow(clippy::unwrap_used, reason = "what these tests call takes no outside input")]

mod samples;

use common::record::{ConflictRecord, Earlier, EarlierMessage, Registers, Was};
use common::wire::hello::{Hello, HelloReply};
use common::wire::meta::{
    Accepted, CapabilityReply, CapabilityRequest, CheckpointPut, CommitBegin, CommitPart,
    DeletedRead, DeviceLogAppend, DeviceLogPart, DeviceLogRead, DevicePresence, Empty, EpochStart,
    FolderCreate, FolderListPart, FolderState, GroupMessage, Holder, HoldersRead, HoldersReply,
    InvitationFetch, InvitationOpen, InvitationRedeem, InvitationReply, JournalBatch, JournalGroup,
    Keyring, MomentRead, MomentReply, NamedEntry, NamedRead, NamedReply, Outcome, OutcomeKind,
    Outcomes, OutcomesRead, PastPart, PastRead, PlaceBefore, PresenceReply, Refusal, RefusalCode,
    Rejected, RejectionCode, Reply, ReplyFrame, Report, Request, RequestFrame, SnapshotPart,
    SnapshotRead, Subscribe, TimelineRead, Version, VersionsPart, VersionsRead,
};
use common::wire::store::{
    GetHeader, GetRequest, HaveReply, HaveRequest, PutHeader, PutReply, StoreOpen, StoreVerb,
};
use common::wire::{ALPN_JOIN, ALPN_META, ALPN_STORE, frame, hello};
use prost::Message;
use samples::{BIG, UNKNOWN_FIELD, conflict, golden, registers};
use std::fmt::Debug;

/// As [`BIG`], for a u32.
const BIG32: u32 = 1 << 31;

/// Pins the frame of a message, reads it back, and reads it as a newer peer would send it.
fn framed<M: Message + Default + PartialEq + Debug>(what: &str, message: &M, expected: &str) {
    let bytes = frame::encode(message).unwrap();
    golden(what, &bytes, expected);
    let (prefix, body) = bytes.split_first_chunk::<{ frame::PREFIX_BYTES }>().unwrap();
    assert_eq!(frame::length(*prefix), Ok(body.len()), "{what}");
    assert_eq!(frame::decode::<M>(body).as_ref(), Ok(message), "{what}");
    for newer in [[body, UNKNOWN_FIELD].concat(), [UNKNOWN_FIELD, body].concat()] {
        assert_eq!(frame::decode::<M>(&newer).as_ref(), Ok(message), "{what} of a newer version");
    }
}

fn request(what: &str, request: Request, expected: &str) {
    framed(what, &RequestFrame { request: Some(request) }, expected);
}

fn reply(what: &str, reply: Reply, expected: &str) {
    framed(what, &ReplyFrame { reply: Some(reply) }, expected);
}

/// What stands for an id or a signed document where only the wire carries it.
fn opaque(number: u8) -> Vec<u8> {
    vec![number, number]
}

fn refusal() -> Refusal {
    Refusal::new(RefusalCode::Quota, "full")
}

#[test]
fn protocols_and_their_version_are_pinned() {
    assert_eq!(ALPN_META, b"driftless-meta/1");
    assert_eq!(ALPN_STORE, b"driftless-store/1");
    assert_eq!(ALPN_JOIN, b"driftless-join/1");
    assert_eq!(hello::VERSION, 1);
}

#[test]
fn a_frame_is_a_length_in_little_endian_and_a_message() {
    let message = PutHeader { id: vec![7; 300], length: 1 };
    let bytes = frame::encode(&message).unwrap();
    let head = [0x31, 0x01, 0, 0, 0x0a, 0xac, 0x02];
    assert_eq!(bytes, [&head[..], &[7; 300], &[0x10, 1]].concat());
    assert_eq!(frame::encode(&Empty {}).unwrap(), [0, 0, 0, 0]);
    assert_eq!(frame::length([0x31, 0x01, 0, 0]), Ok(305));
}

#[test]
fn the_greeting_is_pinned() {
    let features = || vec!["one".to_owned(), "two".to_owned()];
    framed(
        "hello",
        &Hello { version: BIG32 + 1, software: "x 1".into(), features: features() },
        "1500000008818080800812037820311a036f6e651a0374776f",
    );
    framed(
        "the answer to hello",
        &HelloReply {
            version: BIG32 + 1,
            software: "x 1".into(),
            features: features(),
            cluster: opaque(1),
            time_ms: BIG + 2,
        },
        "2400000008818080800812037820311a036f6e651a0374776f220201012882808080808080808001",
    );
}

#[test]
fn requests_of_accounts_and_folders_are_pinned() {
    request(
        "device log read",
        Request::DeviceLogRead(DeviceLogRead { from: BIG + 1 }),
        "0d0000000a0b0881808080808080808001",
    );
    request(
        "device log append",
        Request::DeviceLogAppend(DeviceLogAppend { record: opaque(1) }),
        "0600000012040a020101",
    );
    request("keyring get", Request::KeyringGet(Empty {}), "020000001a00");
    let keyring = Keyring { version: BIG + 1, sealed: opaque(2) };
    request(
        "keyring put",
        Request::KeyringPut(keyring),
        "11000000220f088180808080808080800112020202",
    );
    request(
        "folder create",
        Request::FolderCreate(FolderCreate { genesis: opaque(1) }),
        "060000002a040a020101",
    );
    request("folder list", Request::FolderList(Empty {}), "020000003200");
    let open = InvitationOpen { record: opaque(1), blob: opaque(2) };
    request("invitation open", Request::InvitationOpen(open), "0a0000003a080a02010112020202");
    let put = CheckpointPut { checkpoint: opaque(1) };
    request("checkpoint put", Request::CheckpointPut(put), "0600000042040a020101");
    request("presence", Request::Presence(Empty {}), "03000000a20100");
    let fetch = InvitationFetch { lookup: opaque(1) };
    request("invitation fetch", Request::InvitationFetch(fetch), "07000000aa01040a020101");
    let redeem = InvitationRedeem { lookup: opaque(1), record: opaque(2) };
    request(
        "invitation redeem",
        Request::InvitationRedeem(redeem),
        "0b000000b201080a02010112020202",
    );
}

#[test]
fn requests_about_a_journal_are_pinned() {
    request("commit", Request::Commit(CommitBegin { folder: opaque(1) }), "060000004a040a020101");
    framed(
        "commit part",
        &CommitPart {
            receipts: vec![opaque(1), opaque(2)],
            pages: vec![opaque(3), opaque(4)],
            groups: vec![
                GroupMessage { body: opaque(5), signature: opaque(6) },
                GroupMessage { body: opaque(7), signature: opaque(8) },
            ],
        },
        "240000000a0201010a02020212020303120204041a080a020505120206061a080a02070712020808",
    );
    let read =
        OutcomesRead { folder: opaque(1), incarnation: BIG + 2, counters: vec![BIG + 3, 0, 300] };
    request(
        "outcomes read",
        Request::Outcomes(read),
        "1e000000521c0a0201011102000000000000801a0d8380808080808080800100ac02",
    );
    let subscribe = Subscribe { folder: opaque(1), epoch: BIG + 2, revision: BIG + 3 };
    request(
        "subscribe",
        Request::Subscribe(subscribe),
        "1c0000005a1a0a02010110828080808080808080011883808080808080808001",
    );
    request(
        "snapshot read",
        Request::Snapshot(SnapshotRead { folder: opaque(1) }),
        "0600000062040a020101",
    );
    let read = VersionsRead {
        folder: opaque(1),
        entry: opaque(2),
        at_or_before: BIG + 3,
        limit: BIG32 + 4,
    };
    request(
        "versions read",
        Request::Versions(read),
        "1b0000006a190a020101120202021883808080808080808001208480808008",
    );
    request(
        "capability request",
        Request::Capability(CapabilityRequest { folder: opaque(1) }),
        "0600000072040a020101",
    );
}

#[test]
fn replies_about_accounts_and_folders_are_pinned() {
    reply("refused", Reply::Refused(refusal()), "0a0000000a080806120466756c6c");
    reply("done", Reply::Done(Empty {}), "020000001200");
    let part = DeviceLogPart { from: BIG + 1, records: vec![opaque(2), opaque(3)] };
    reply(
        "device log",
        Reply::DeviceLog(part),
        "150000001a1308818080808080808080011202020212020303",
    );
    reply(
        "keyring",
        Reply::Keyring(Keyring { version: BIG + 1, sealed: opaque(2) }),
        "11000000220f088180808080808080800112020202",
    );
    let folder = |number| FolderState {
        genesis: opaque(number),
        epoch: BIG + 2,
        revision: BIG + 3,
        head: opaque(4),
    };
    let folders = vec![folder(1), folder(5)];
    reply(
        "folders",
        Reply::Folders(FolderListPart { folders }),
        "420000002a400a1e0a02010110828080808080808080011883808080808080808001220204040a1e0a0205051082808080808080808001188380808080808080800122020404",
    );
    let capability = CapabilityReply { capability: opaque(1), expires_ms: BIG + 2 };
    reply(
        "capability",
        Reply::Capability(capability),
        "11000000520f0a0201011082808080808080808001",
    );
    let devices = vec![
        DevicePresence { device: opaque(1), online: true, last_seen_ms: BIG + 2 },
        DevicePresence { device: opaque(3), online: false, last_seen_ms: BIG + 4 },
    ];
    reply(
        "presence reply",
        Reply::Presence(PresenceReply { devices }),
        "260000005a240a110a020101100118828080808080808080010a0f0a0203031884808080808080808001",
    );
    reply(
        "invitation",
        Reply::Invitation(InvitationReply { blob: opaque(1) }),
        "0600000062040a020101",
    );
}

#[test]
fn replies_about_a_journal_are_pinned() {
    let accepted = Accepted { revision: BIG + 1, time_ms: BIG + 2, epoch: BIG + 3 };
    let rejected = Rejected {
        code: RejectionCode::Quota as i32,
        change: BIG32 + 1,
        entry: opaque(2),
        message: "full".into(),
        revision: BIG + 3,
    };
    let outcomes = vec![
        Outcome { kind: Some(OutcomeKind::Accepted(accepted)) },
        Outcome { kind: Some(OutcomeKind::Rejected(rejected)) },
        Outcome { kind: None },
    ];
    reply(
        "outcomes",
        Reply::Outcomes(Outcomes { outcomes }),
        "4a00000032480a230a210881808080808080808001108280808080808080800118838080808080808080010a1f121d080c1081808080081a020202220466756c6c28838080808080808080010a00",
    );
    let group = JournalGroup {
        revision: BIG + 1,
        time_ms: BIG + 2,
        body: opaque(3),
        signature: opaque(4),
        epoch: BIG + 5,
    };
    let start = EpochStart { epoch: BIG + 6, revision: BIG + 7, head: opaque(8) };
    let batch = JournalBatch {
        epoch: BIG + 1,
        groups: vec![group],
        last_revision: BIG + 2,
        lineage: vec![start],
    };
    reply(
        "journal",
        Reply::Journal(batch),
        "5f0000003a5d08818080808080808080011229088180808080808080800110828080808080808080011a0203032202040428858080808080808080011882808080808080808001221a088680808080808080800110878080808080808080011a020808",
    );
    let part = SnapshotPart {
        checkpoint: opaque(1),
        entries: vec![(&registers()).into()],
        conflicts: vec![(&conflict()).into()],
        last: true,
        settings: None,
    };
    reply(
        "snapshot",
        Reply::Snapshot(part),
        "343 3ff96702fd0dce3b0ee263f21e669c047802319498502f7a4e080174c2b0f461",
    );
    let version = Version {
        revision: BIG + 1,
        time_ms: BIG + 2,
        device: opaque(3),
        place_changed: true,
        content_changed: true,
        deleted: true,
        registers: Some((&registers()).into()),
        ..Version::default()
    };
    reply(
        "versions",
        Reply::Versions(VersionsPart {
            versions: vec![version],
            more: true,
            ..VersionsPart::default()
        }),
        "239 1b916e401e9f772c76b583a1b569eab9353827537bef3d195d22d949dfd9c6bd",
    );
}

#[test]
fn questions_about_the_past_are_pinned() {
    let past = PastRead { folder: opaque(1), at: BIG + 2, known: BIG + 3, after: opaque(4) };
    request(
        "past",
        Request::Past(past),
        "200000007a1e0a0201011082808080808080808001188380808080808080800122020404",
    );
    let timeline = TimelineRead {
        folder: opaque(1),
        at_or_before: BIG + 2,
        limit: 3,
        below: opaque(4),
        after: opaque(5),
    };
    request(
        "timeline",
        Request::Timeline(timeline),
        "1c000000ba01190a02010110828080808080808080011803220204042a020505",
    );
    let moment = MomentRead { folder: opaque(1), revision: BIG + 2, time_ms: BIG + 3 };
    request(
        "moment",
        Request::Moment(moment),
        "1d000000c2011a0a02010110828080808080808080011883808080808080808001",
    );
    let named = NamedRead { folder: opaque(1), parent: opaque(2), name_tag: opaque(3) };
    request("named", Request::Named(named), "0f000000ca010c0a020101120202021a020303");
    let report = Report { folder: opaque(1), revision: BIG + 2 };
    request("report", Request::Report(report), "12000000f2010f0a0201011082808080808080808001");
    request(
        "holders",
        Request::Holders(HoldersRead { folder: opaque(1) }),
        "07000000fa01040a020101",
    );
    let deleted = DeletedRead { folder: opaque(1), after: opaque(2) };
    request("deleted", Request::Deleted(deleted), "0b000000ea01080a02010112020202");
}

#[test]
fn answers_about_the_past_are_pinned() {
    let Registers { entry, kind, place_revision, place, content_revision, content } = registers();
    let (place, content) = (Some((place_revision, place)), Some((content_revision, content)));
    let was = |place, content| Earlier { entry, was: Some(Was { kind, place, content }) };
    let told = [
        was(place.clone(), content.clone()),
        was(place, None),
        was(None, content),
        Earlier { entry, was: None },
    ];
    let entries: Vec<EarlierMessage> = told.iter().map(EarlierMessage::from).collect();
    for (message, told) in entries.iter().zip(&told) {
        assert_eq!(Earlier::try_from(message.clone()).as_ref(), Ok(told));
    }
    let past = PastPart { entries, next: opaque(3) };
    reply(
        "past",
        Reply::Past(past),
        "442 d7f06e3a6b9b00cb77342dc1630b5cce95f453617eeecb33b1590c4cad3bb97b",
    );
    let moment = MomentReply {
        revision: BIG + 1,
        time_ms: BIG + 2,
        first_ms: BIG + 3,
        last_revision: BIG + 4,
    };
    reply(
        "moment",
        Reply::Moment(moment),
        "2e000000722c0881808080808080808001108280808080808080800118838080808080808080012084808080808080808001",
    );
    let named = NamedEntry {
        entry: opaque(1),
        kind: 2,
        last: true,
        deleted: false,
        place_revision: BIG + 5,
    };
    let other = NamedEntry { deleted: true, last: false, ..named.clone() };
    reply(
        "named",
        Reply::Named(NamedReply { entries: vec![named, other] }),
        "2c0000007a2a0a130a0201011002180128858080808080808080010a130a020101100220012885808080808080808001",
    );
    let holder = Holder { device: opaque(1), revision: BIG + 2 };
    let other = Holder { device: opaque(3), revision: BIG + 4 };
    reply(
        "holders",
        Reply::Holders(HoldersReply { holders: vec![holder, other] }),
        "250000009a01220a0f0a02010110828080808080808080010a0f0a0203031084808080808080808001",
    );
    let before = PlaceBefore { parent: opaque(1), name: opaque(2), deleted: true };
    let version =
        Version { revision: BIG + 1, before: Some(before), settled: true, ..Version::default() };
    let part = VersionsPart {
        versions: vec![version],
        more: true,
        next_revision: BIG + 2,
        next_entry: opaque(3),
    };
    reply(
        "versions",
        Reply::Versions(part),
        "2e0000004a2c0a190881808080808080808001420a0a02010112020202180148011001188280808080808080800122020303",
    );
}

#[test]
fn flags_of_a_version_are_each_their_own_field() {
    let version = Version::default();
    framed("place changed", &Version { place_changed: true, ..version.clone() }, "020000002001");
    framed(
        "content changed",
        &Version { content_changed: true, ..version.clone() },
        "020000002801",
    );
    framed("deleted", &Version { deleted: true, ..version.clone() }, "020000003001");
    framed("settled", &Version { settled: true, ..version.clone() }, "020000004801");
    framed("released", &Version { released: true, ..version.clone() }, "020000005001");
    framed(
        "attributes before",
        &Version { attributes_before: Some(vec![7]), ..version },
        "030000005a0107",
    );
}

#[test]
fn chunk_requests_and_replies_are_pinned() {
    for (what, verb, expected) in [
        ("open to put", StoreVerb::Put, "060000000a0201011001"),
        ("open to get", StoreVerb::Get, "060000000a0201011002"),
        ("open to have", StoreVerb::Have, "060000000a0201011003"),
    ] {
        framed(what, &StoreOpen { capability: opaque(1), verb: verb as i32 }, expected);
    }
    framed("put", &PutHeader { id: opaque(1), length: BIG32 + 2 }, "0a0000000a020101108280808008");
    let refusal = Some(refusal());
    let receipts = opaque(1);
    framed(
        "put reply",
        &PutReply { receipts, refusal: refusal.clone() },
        "0e0000000a02010112080806120466756c6c",
    );
    framed("get", &GetRequest { ids: vec![opaque(1), opaque(2)] }, "080000000a0201010a020202");
    let header = GetHeader { found: true, length: BIG32 + 2, refusal: refusal.clone() };
    framed("get reply", &header, "1200000008011082808080081a080806120466756c6c");
    framed("have", &HaveRequest { ids: vec![opaque(1), opaque(2)] }, "080000000a0201010a020202");
    let receipts = vec![opaque(1), opaque(2)];
    framed(
        "have reply",
        &HaveReply { receipts, refusal },
        "120000000a0201010a02020212080806120466756c6c",
    );
}

#[test]
fn codes_keep_their_numbers() {
    let refusals = [
        RefusalCode::Unspecified,
        RefusalCode::Malformed,
        RefusalCode::NotEnrolled,
        RefusalCode::NoSuchFolder,
        RefusalCode::InvitationInvalid,
        RefusalCode::Conflict,
        RefusalCode::Quota,
        RefusalCode::DiskFull,
        RefusalCode::Stopped,
        RefusalCode::Busy,
        RefusalCode::EpochChanged,
        RefusalCode::Damaged,
        RefusalCode::Capability,
        RefusalCode::Version,
        RefusalCode::RecordInvalid,
        RefusalCode::NotFound,
        RefusalCode::Revoked,
    ];
    for (number, code) in (0..).zip(refusals) {
        assert_eq!(RefusalCode::try_from(number), Ok(code));
    }
    let rejections = [
        RejectionCode::Unspecified,
        RejectionCode::StalePlace,
        RejectionCode::StaleContent,
        RejectionCode::NameTaken,
        RejectionCode::NoParent,
        RejectionCode::Cycle,
        RejectionCode::NotEmpty,
        RejectionCode::NoSuchEntry,
        RejectionCode::IdTaken,
        RejectionCode::MissingChunk,
        RejectionCode::StaleReceipt,
        RejectionCode::BadPage,
        RejectionCode::Quota,
        RejectionCode::WrongEpoch,
        RejectionCode::UnknownHead,
        RejectionCode::BadSignature,
        RejectionCode::RequestId,
        RejectionCode::Malformed,
        RejectionCode::NoSuchConflict,
        RejectionCode::ContentReleased,
        RejectionCode::NotWhole,
        RejectionCode::NoSuchLabel,
        RejectionCode::StaleSettings,
    ];
    for (number, code) in (0..).zip(rejections) {
        assert_eq!(RejectionCode::try_from(number), Ok(code));
    }
}

#[test]
fn what_only_a_newer_version_knows_decodes() {
    // A refusal with a code of the future, inside a reply, with a field of the future.
    let refusal = Refusal { code: 1_000, message: "new".into() };
    let inner = [refusal.encode_to_vec(), UNKNOWN_FIELD.to_vec()].concat();
    let body = [vec![0x0a, u8::try_from(inner.len()).unwrap()], inner].concat();
    let decoded = frame::decode::<ReplyFrame>(&body).unwrap();
    assert_eq!(decoded.reply, Some(Reply::Refused(refusal)));
    assert!(RefusalCode::try_from(1_000).is_err());
    // A request and a reply of a kind that is not known: nothing was asked, nothing was answered.
    assert_eq!(frame::decode::<RequestFrame>(UNKNOWN_FIELD).unwrap().request, None);
    assert_eq!(frame::decode::<ReplyFrame>(UNKNOWN_FIELD).unwrap().reply, None);
    // A known message with a field of the future in it.
    let inner =
        [CommitBegin { folder: opaque(1) }.encode_to_vec(), UNKNOWN_FIELD.to_vec()].concat();
    let body = [vec![0x4a, u8::try_from(inner.len()).unwrap()], inner].concat();
    let decoded = frame::decode::<RequestFrame>(&body).unwrap();
    assert_eq!(decoded.request, Some(Request::Commit(CommitBegin { folder: opaque(1) })));
}

#[test]
fn registers_and_conflicts_of_a_snapshot_come_back_as_they_were() {
    let part = SnapshotPart {
        entries: vec![(&registers()).into()],
        conflicts: vec![(&conflict()).into()],
        ..SnapshotPart::default()
    };
    let body = part.encode_to_vec();
    let mut decoded = frame::decode::<SnapshotPart>(&body).unwrap();
    assert_eq!(Registers::try_from(decoded.entries.remove(0)), Ok(registers()));
    assert_eq!(ConflictRecord::try_from(decoded.conflicts.remove(0)), Ok(conflict()));
}
