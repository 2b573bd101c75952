//! Commits and the journal over the network.

use super::{Bed, Member, soon};
use crate::remote::{Remote, RemoteError};
use common::ids::{ContentTag, EntryId, FolderId, Head, NameTag, RequestId};
use common::limits::{FOLDERS_PER_DEVICE_MAX, FRAME_BYTES_MAX};
use common::record::{Change, Content, Group, Kind, Place, SignedGroup};
use common::wire::meta::{
    CommitPart, GroupMessage, OutcomeKind, RefusalCode, Request, SnapshotRead, Subscribe,
};

/// A group that makes a directory.
fn make_directory(member: &Member, folder: FolderId, number: u8) -> GroupMessage {
    let group = Group {
        folder,
        epoch: 1,
        user: member.user,
        device: member.keys.device(),
        request: RequestId { incarnation: 1, counter: u64::from(number) },
        seen_revision: 0,
        seen_head: Head::ZERO,
        device_log_head: member.log.head(),
        changes: vec![Change::Create {
            entry: EntryId::from_bytes([number; 16]),
            kind: Kind::Directory,
            place: Place {
                parent: EntryId::ROOT,
                name: vec![number; 64],
                name_tag: NameTag::from_bytes([number; 32]),
            },
            content: Content {
                root: None,
                tag: ContentTag::from_bytes([0; 32]),
                attributes: vec![1; 32],
            },
        }],
    };
    let signed = SignedGroup::sign(&group, &member.keys.signing);
    GroupMessage { body: signed.body, signature: signed.signature.to_vec() }
}

fn part(groups: Vec<GroupMessage>) -> CommitPart {
    CommitPart { receipts: Vec::new(), pages: Vec::new(), groups }
}

fn from_start(folder: FolderId) -> Subscribe {
    Subscribe { folder: folder.to_vec(), epoch: 1, revision: 0 }
}

#[tokio::test]
async fn a_commit_in_parts_has_an_outcome_a_group_and_reaches_subscribers() {
    let bed = Bed::start().await;
    let mut member = bed.enrol(10).await;
    let second = bed.enrol_second(&mut member, 11).await;
    let folder = member.make_folder().await;
    let follower = bed.remote(&second.signing);
    let mut journal = follower.subscribe(from_start(folder)).await.unwrap();
    let first = soon(journal.next()).await.unwrap().unwrap();
    assert!(first.groups.is_empty(), "the first batch comes at once, even when empty");

    let groups = |range: std::ops::Range<u8>| {
        part(range.map(|number| make_directory(&member, folder, number)).collect())
    };
    let parts = vec![groups(1..4), groups(4..5)];
    let outcomes = member.remote.commit(folder, parts).await.unwrap().outcomes;
    let revisions: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| match outcome.kind {
            Some(OutcomeKind::Accepted(accepted)) => accepted.revision,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(revisions, [1, 2, 3, 4]);

    let mut followed = Vec::new();
    while followed.len() < 4 {
        let batch = soon(journal.next()).await.unwrap().unwrap();
        followed.extend(batch.groups.into_iter().map(|group| group.revision));
    }
    assert_eq!(followed, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_refused_subscription_and_commit_say_why() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = FolderId::from_bytes([7; 32]);
    let subscribed = member.remote.subscribe(from_start(folder)).await.map(|_| ());
    let commit = part(vec![make_directory(&member, folder, 1)]);
    let committed = member.remote.commit(folder, vec![commit]).await.map(|_| ());
    let snapshot = Request::Snapshot(SnapshotRead { folder: folder.to_vec() });
    let asked = member.remote.request(snapshot).await.map(|_| ());
    for outcome in [subscribed, committed, asked] {
        let error = outcome.unwrap_err();
        assert_eq!(error.refusal_code(), Some(RefusalCode::NoSuchFolder), "{error}");
    }
}

#[tokio::test]
async fn a_commit_over_a_bound_is_refused_in_good_order() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    // Few bytes, but more items than the server takes into memory.
    let pages = vec![Vec::new(); FRAME_BYTES_MAX / 2 - 16];
    let crowd = CommitPart { receipts: Vec::new(), pages, groups: Vec::new() };
    let error = soon(member.remote.commit(folder, vec![crowd; 4])).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::Malformed), "{error}");

    let pages = vec![vec![0; FRAME_BYTES_MAX - 1024]];
    let heavy = CommitPart { receipts: Vec::new(), pages, groups: Vec::new() };
    let error = soon(member.remote.commit(folder, vec![heavy; 65])).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge(_)), "{error}");

    let over = CommitPart {
        receipts: Vec::new(),
        pages: vec![vec![0; FRAME_BYTES_MAX + 1]],
        groups: Vec::new(),
    };
    let error = soon(member.remote.commit(folder, vec![over])).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge(_)), "{error}");
    let outcomes = member
        .remote
        .commit(folder, vec![part(vec![make_directory(&member, folder, 1)])])
        .await
        .unwrap();
    assert_eq!(outcomes.outcomes.len(), 1);
}

#[tokio::test]
async fn more_subscriptions_than_a_connection_carries_are_refused_and_requests_go_on() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let mut held = Vec::new();
    let error = loop {
        match soon(member.remote.subscribe(from_start(folder))).await {
            Ok(journal) => held.push(journal),
            Err(error) => break error,
        }
    };
    assert_eq!(error.refusal_code(), Some(RefusalCode::Busy), "{error}");
    assert_eq!(held.len(), FOLDERS_PER_DEVICE_MAX);
    let commit = part(vec![make_directory(&member, folder, 1)]);
    soon(member.remote.commit(folder, vec![commit])).await.unwrap();
    held.pop();
    soon(member.remote.subscribe(from_start(folder))).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_ends_a_subscription_with_an_error() {
    let mut bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let mut journal = member.remote.subscribe(from_start(folder)).await.unwrap();
    soon(journal.next()).await.unwrap();
    soon(bed.stop()).await;
    let error = soon(journal.next()).await.unwrap_err();
    assert!(error.is_offline(), "{error}");
}
