//! Golden bytes of what came with labels, settings and retention: changes, sealed names and
//! preferences, the digest with settings, requests and replies.
//!
//! A failure here is a new version of a format, not a test to update. Fields may be added: a sample
//! then stays as it is.

#![allow(clippy::unwrap_used, reason = "what these tests call takes no outside input")]

mod samples;

use common::chunk::{
    MergePolicy, Preferences, open_label_name, open_preferences, seal_label_name, seal_preferences,
};
use common::ids::{FolderId, Head, LabelId, RequestId, UserId};
use common::keys::{FolderKeys, SigningKey};
use common::name::LabelName;
use common::record::{
    Change, Group, RegisterDigest, Retention, Settings, SignedGroup, StandingSettings,
    StandingSettingsMessage,
};
use common::wire::frame;
use common::wire::meta::{Reply, ReplyFrame, Request, RequestFrame, SnapshotPart};
use common::wire::retention::{
    LabelState, LabelsRead, LabelsReply, Moment, RetentionPreviewRead, RetentionPreviewReply,
    RetentionWindows,
};
use prost::Message;
use samples::{BIG, UNKNOWN_FIELD, conflict, content, golden, place, registers};
use std::fmt::Debug;

const FOLDER: FolderId = FolderId::from_bytes([20; 32]);
const LABEL: LabelId = LabelId::from_bytes([40; 16]);

fn retention() -> Retention {
    Retention { keep_all_ms: BIG + 1, daily_ms: BIG + 2, monthly_ms: BIG + 3 }
}

fn settings() -> Settings {
    Settings { retention: retention(), sealed: vec![41; 9] }
}

fn standing() -> StandingSettings {
    StandingSettings { revision: BIG + 4, time_ms: BIG + 5, settings: settings() }
}

fn keys() -> FolderKeys {
    FolderKeys::new([0x11; 32], [0x22; 32])
}

fn changed(what: &str, change: Change, expected: &str) {
    let key = SigningKey::from_seed([1; 32]);
    let group = Group {
        folder: FOLDER,
        epoch: BIG + 1,
        user: UserId::from_bytes([21; 32]),
        device: key.device(),
        request: RequestId { incarnation: BIG + 2, counter: BIG + 3 },
        seen_revision: BIG + 4,
        seen_head: Head::from_bytes([22; 32]),
        device_log_head: Head::from_bytes([23; 32]),
        changes: vec![change],
    };
    let signed = SignedGroup::sign(&group, &key);
    golden(what, &signed.body, expected);
    assert_eq!(signed.verify(), Ok(group), "{what}");
}

#[test]
fn groups_about_labels_and_settings_are_pinned() {
    changed(
        "add label",
        Change::AddLabel { label: LABEL, at: BIG + 6, name: vec![42; 9] },
        "259 e0563a9c9f01b31c18b70d805d94c7b33b32754c17eabe792a8e44846a296291",
    );
    changed(
        "remove label",
        Change::RemoveLabel { label: LABEL },
        "236 dc87fd004d96fbb34bb8e9c6af152d08f92c2509f8a162cb1dc1587e0986e3db",
    );
    changed(
        "set settings",
        Change::SetSettings { base: BIG + 7, settings: settings() },
        "276 cc6af3466156b544b7838ee9f33daf292e6bc212d13ec89497f123efa3ff8de0",
    );
    let first = Settings { retention: Retention::EVERYTHING, sealed: Vec::new() };
    changed(
        "first settings",
        Change::SetSettings { base: 0, settings: first },
        "256 243b08006c34993638956f7e61880597be2c8a04ee170ece242838ae8ff384ba",
    );
}

#[test]
fn sealed_labels_and_preferences_are_pinned() {
    let name = LabelName::new("before the move").unwrap();
    let sealed = seal_label_name(&keys(), &FOLDER, &LABEL, BIG + 6, &name);
    golden(
        "label",
        &sealed,
        "64726674010601000000f928c87d9ddd6f5815ca99adf229ae5c00b6089e2beae680f4a3584d137a81b8834ec1a7dac2df94558ae75d744522b9bfc3c051fec03f9ae26f9cd7476d0fc540f28ac588e03aa973fd221a643256fa81ddb7f8321a978b1d",
    );
    assert_eq!(open_label_name(&keys(), &FOLDER, &LABEL, BIG + 6, &sealed), Ok(name));
    for (merge, expected) in [
        (
            MergePolicy::Auto,
            "64726674010701000000d8bfb29404f110df7296ea5e249756f909f5f4a34ff5563421c57d11da5038dcf50201326ffcd95d4cd5c7020b8c1bbdaf032dd826ee7719611af3dead2f71d6dcb3354e45147a6a8e04b78844d0ea05b254d66da17c56c242",
        ),
        (
            MergePolicy::Ask,
            "647266740107010000002af5b7ef8edc67e8f172e9031c83a2b5fee8bbb2065fd04d5ed3c2747aca8a33a5699d9dddd201b4dfd02c96a96cedd9752ea2a567fd22795689bd4588f34b4105b1b7089a2934267914c1ef695dcc76e2a5340c41fb096115",
        ),
        (
            MergePolicy::Never,
            "64726674010701000000ac9a673d09e33cf1178da77d9a28442dfa60bdfac018a9f6af673a2a8c151af301a348219cec293aef0467e2d3310e6b1207301e038c268cc55c36e9ca1ce57982c9fb3991622c23ed66fa3bcad6d4406dba2c1bddb6091ff2",
        ),
    ] {
        let preferences = Preferences { merge };
        let sealed = seal_preferences(&keys(), &FOLDER, &retention(), &preferences);
        golden("preferences", &sealed, expected);
        assert_eq!(open_preferences(&keys(), &FOLDER, &retention(), &sealed), Ok(preferences));
    }
}

#[test]
fn the_digest_with_settings_is_pinned() {
    let mut digest = RegisterDigest::new(&FOLDER);
    digest.settings(BIG + 4, &settings());
    golden(
        "digest of settings alone",
        digest.finish().as_bytes(),
        "65686de1b3d37ea9e43bb972d692a66ecc7d9d9faae1e1d9ee5a9af40c33ee16",
    );
    let mut digest = RegisterDigest::new(&FOLDER);
    digest.entry(&registers().entry, &RegisterDigest::row(&registers()));
    digest.conflict(&conflict());
    digest.settings(BIG + 4, &settings());
    golden(
        "digest with settings",
        digest.finish().as_bytes(),
        "26a6bdd4b430f72b0f66dc87c044bceb2f139d15fd89a0e4e84f4f0185f8014d",
    );
    golden(
        "stored settings",
        &standing().to_bytes(),
        "088480808080808080800110858080808080808080011a2c0881808080808080808001108280808080808080800118838080808080808080012209292929292929292929",
    );
    assert_eq!(StandingSettings::from_bytes(&standing().to_bytes()), Ok(standing()));
    assert_ne!(place().name, content().attributes);
}

fn framed<M: Message + Default + PartialEq + Debug>(what: &str, message: &M, expected: &str) {
    let bytes = frame::encode(message).unwrap();
    golden(what, &bytes, expected);
    let newer = [&bytes[4..], UNKNOWN_FIELD].concat();
    assert_eq!(&frame::decode::<M>(&bytes[4..]).unwrap(), message, "{what}");
    assert_eq!(&frame::decode::<M>(&newer).unwrap(), message, "{what} of a newer version");
}

#[test]
fn requests_about_labels_and_retention_are_pinned() {
    let request =
        |what, request, expected| framed(what, &RequestFrame { request: Some(request) }, expected);
    let folder = vec![43; 32];
    request(
        "labels",
        Request::Labels(LabelsRead { folder: folder.clone() }),
        "25000000d201220a202b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b",
    );
    let windows = RetentionWindows { keep_all_ms: BIG + 1, daily_ms: BIG + 2, monthly_ms: BIG + 3 };
    request(
        "preview",
        Request::RetentionPreview(RetentionPreviewRead { folder, retention: Some(windows) }),
        "48000000da01450a202b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b1221088180808080808080800110828080808080808080011883808080808080808001",
    );
}

#[test]
fn replies_about_labels_and_retention_are_pinned() {
    let reply = |what, reply, expected| framed(what, &ReplyFrame { reply: Some(reply) }, expected);
    let label = LabelState {
        label: vec![44; 16],
        at: BIG + 1,
        at_ms: BIG + 2,
        added_ms: BIG + 3,
        device: vec![45; 32],
        name: vec![46; 9],
    };
    let other = StandingSettings { revision: BIG + 8, ..standing() };
    let labels = LabelsReply {
        labels: vec![label],
        settings: Some(StandingSettingsMessage::from(&standing())),
        settled: Some(StandingSettingsMessage::from(&other)),
        alone_from_ms: BIG + 4,
        horizon: BIG + 5,
        horizon_ms: BIG + 6,
    };
    reply(
        "labels",
        Reply::Labels(labels),
        "279 50028b584ac82234ccff890a78337ccd3483f18794c9cf03eac91905cb8f7ecc",
    );
    let preview = RetentionPreviewReply {
        versions: BIG + 1,
        contents: BIG + 2,
        horizon: BIG + 3,
        horizon_ms: BIG + 4,
        kept: vec![Moment { revision: BIG + 5, time_ms: BIG + 6 }],
    };
    reply(
        "preview",
        Reply::RetentionPreview(preview),
        "470000008a014408818080808080808080011082808080808080808001188380808080808080800120848080808080808080012a1608858080808080808080011086808080808080808001",
    );
    let settings = Some(StandingSettingsMessage::from(&standing()));
    let part = SnapshotPart { last: true, settings, ..SnapshotPart::default() };
    reply(
        "snapshot with settings",
        Reply::Snapshot(part),
        "4a000000424820012a44088480808080808080800110858080808080808080011a2c0881808080808080808001108280808080808080800118838080808080808080012209292929292929292929",
    );
}
