//! Databases of earlier versions, opened by this one, and rows that are kept in memory.

use super::{FolderState, IssueSource, LocalRow, MIGRATIONS, MassDeletion, RemoteRow, StateError};
use crate::fs::{self, Stat};
use client_core::planner::Halt;
use client_core::tree::{ContentState, Position, RemoteNode, SyncedNode};
use common::ids::{ContentTag, EntryId, Head};
use common::name::Name;
use common::record::Kind;
use proptest::prelude::*;
use rusqlite::{Connection, params};

/// Version 1 knew that an entry is broken, and not which register.
#[test]
fn what_was_broken_in_version_1_needs_both_registers_to_be_mended() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    for (entry, broken) in [(1_u8, None), (2, Some("ignored")), (3, Some("unreadable"))] {
        connection
            .execute(
                "INSERT INTO remote VALUES
                 (?1, ?2, ?3, 2, ?4, 0, 0, 0, NULL, 0, NULL, 1, 1, 0, ?4, ?4, ?5)",
                params![[entry; 16], [0_u8; 16], format!("name {entry}"), [0_u8; 32], broken],
            )
            .unwrap();
    }
    let state = FolderState::prepare(connection).unwrap();
    let row = |entry: u8| state.remote_row(&EntryId::from_bytes([entry; 16])).unwrap().unwrap();
    assert_eq!((row(1).broken, row(1).issue()), (None, None));
    assert_eq!((row(2).broken.as_deref(), row(2).issue()), (Some("ignored"), None));
    let unreadable = Some("unreadable".to_owned());
    assert_eq!((row(3).place_issue, row(3).content_issue), (unreadable.clone(), unreadable));
}

#[test]
fn what_is_stored_after_something_unsynced_is_synced_again() {
    let directory = tempfile::tempdir().unwrap();
    let state = FolderState::open(&directory.path().join("state.db")).unwrap();
    let synchronous =
        || state.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, u32>(0));
    let (normal, full) = (1, 2);
    let inner = state.atomically(|state| {
        state.atomically_unsynced(|_| Ok::<_, StateError>(synchronous().unwrap()))
    });
    assert_eq!(inner.unwrap(), full, "inside another transaction it is that one's");
    for fails in [false, true] {
        let ended = state.atomically_unsynced(|state| {
            assert_eq!(synchronous().unwrap(), normal);
            state.set_meta("key", b"value")?;
            if fails { Err(StateError::Corrupt { what: "transaction" }) } else { Ok(()) }
        });
        assert_eq!(ended.is_err(), fails);
        assert_eq!(synchronous().unwrap(), full);
    }
}

/// A change of one of the three trees; entries and values are few, so that they meet.
#[derive(Clone, Debug)]
enum Op {
    PutLocal(u8, u8, bool),
    RemoveLocal(u8),
    RenameLocal(u8, u8),
    PutRemote(u8, u8),
    RemoveRemote(u8),
    PutSynced(u8, u8),
    RemoveSynced(u8),
    Release,
    ForgetContents,
    SwapShadow(u8),
    Unmark(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let entry = 0..4_u8;
    prop_oneof![
        4 => (entry.clone(), 0..4_u8, any::<bool>()).prop_map(|(e, v, tag)| Op::PutLocal(e, v, tag)),
        1 => entry.clone().prop_map(Op::RemoveLocal),
        1 => (entry.clone(), entry.clone()).prop_map(|(old, new)| Op::RenameLocal(old, new)),
        3 => (entry.clone(), 0..4_u8).prop_map(|(e, v)| Op::PutRemote(e, v)),
        1 => entry.clone().prop_map(Op::RemoveRemote),
        3 => (entry.clone(), 0..4_u8).prop_map(|(e, v)| Op::PutSynced(e, v)),
        1 => entry.clone().prop_map(Op::RemoveSynced),
        1 => Just(Op::Release),
        1 => Just(Op::ForgetContents),
        1 => entry.clone().prop_map(Op::SwapShadow),
        2 => entry.prop_map(Op::Unmark),
    ]
}

fn id(number: u8) -> EntryId {
    EntryId::from_bytes([number + 1; 16])
}

fn position(entry: u8, value: u8) -> Position {
    // No two entries at one position, and directories above that change too.
    let parent = if value == 0 { EntryId::ROOT } else { id(value) };
    Position { parent, name: Name::new(format!("{entry} {value}")).unwrap() }
}

fn content(value: u8) -> ContentState {
    ContentState { tag: ContentTag::from_bytes([value; 32]), mode: 0o644, mtime_ns: 1 }
}

fn local(entry: u8, value: u8, tag: bool) -> LocalRow {
    let stat = Stat {
        kind: fs::Kind::File,
        size: value.into(),
        mtime_ns: 1,
        ctime_ns: value.into(),
        inode: (value / 2).into(),
        device: 1,
        mode: 0o644,
        nlink: 1,
        birth_ns: None,
    };
    // Half of the changes leave the file where it is.
    let (entry, position) = (id(entry), position(entry, value / 2));
    let tag = tag.then(|| content(value).tag);
    LocalRow { entry, position, kind: Kind::File, stat, tag, root: None, target: None, racy: false }
}

fn remote(entry: u8, value: u8) -> RemoteRow {
    RemoteRow {
        node: RemoteNode {
            entry: id(entry),
            position: position(entry, value),
            kind: Kind::File,
            content: content(value),
            place_revision: 1,
            content_revision: value.into(),
            deleted: value == 3,
        },
        size: 1,
        root: None,
        target: None,
        place_hash: Head::from_bytes([0; 32]),
        content_hash: Head::from_bytes([value; 32]),
        place_issue: None,
        content_issue: None,
        broken: None,
    }
}

fn carry_out(state: &FolderState, op: &Op) -> Result<(), StateError> {
    match *op {
        Op::PutLocal(entry, value, tag) => state.put_local(&local(entry, value, tag)),
        Op::RemoveLocal(entry) => state.remove_local(&id(entry)),
        Op::RenameLocal(old, new) => state.rename_local(&id(old), &id(new)),
        Op::PutRemote(entry, value) => state.put_remote(&remote(entry, value)),
        Op::RemoveRemote(entry) => state.remove_remote(&id(entry)),
        Op::PutSynced(entry, value) => {
            let RemoteRow { node, .. } = remote(entry, value);
            state.put_synced(&SyncedNode {
                entry: node.entry,
                position: node.position,
                kind: node.kind,
                content: node.content,
                place_revision: node.place_revision,
                content_revision: node.content_revision,
                held: true,
            })
        }
        Op::RemoveSynced(entry) => state.remove_synced(&id(entry)),
        Op::Release => state.release_synced(),
        Op::ForgetContents => state.forget_local_contents(),
        Op::SwapShadow(entry) => {
            state.begin_shadow()?;
            state.put_shadow(&remote(entry, 1))?;
            state.swap_shadow()
        }
        Op::Unmark(entry) => state.unmark_dirty(&id(entry)),
    }
}

type Found = (Vec<Option<LocalRow>>, Vec<Option<RemoteRow>>, Vec<Option<SyncedNode>>, Vec<bool>);

fn found(state: &FolderState) -> Found {
    let entries: Vec<EntryId> = (0..4).map(id).collect();
    let dirty = state.dirty(usize::MAX).unwrap();
    (
        entries.iter().map(|entry| state.local_row(entry).unwrap()).collect(),
        entries.iter().map(|entry| state.remote_row(entry).unwrap()).collect(),
        entries.iter().map(|entry| state.synced_node(entry).unwrap()).collect(),
        entries.iter().map(|entry| dirty.contains(entry)).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Transactions of a few changes each, some of which are rolled back.
    #[test]
    fn rows_that_are_kept_are_those_of_the_database(
        transactions in prop::collection::vec((prop::collection::vec(op(), 1..6), any::<bool>()), 1..8)
    ) {
        let (state, plain) = (FolderState::open_in_memory().unwrap(), FolderState::open_in_memory().unwrap());
        for (ops, keeps) in transactions {
            let mut results = Vec::new();
            for (state, forgets) in [(&state, false), (&plain, true)] {
                let mut done = Vec::new();
                let ended = state.atomically(|state| {
                    for op in &ops {
                        done.push(carry_out(state, op).is_ok());
                        if forgets {
                            state.forget_rows();
                        }
                    }
                    if keeps { Ok(()) } else { Err(StateError::Corrupt { what: "transaction" }) }
                });
                prop_assert_eq!(ended.is_ok(), keeps);
                let kept = found(state);
                state.forget_rows();
                prop_assert_eq!(&kept, &found(state));
                results.push((done, kept));
            }
            prop_assert_eq!(&results[0], &results[1]);
        }
    }
}

#[test]
fn the_reason_of_an_issue_does_not_name_its_path_again() {
    let directory = tempfile::tempdir().unwrap();
    let state = FolderState::open(&directory.path().join("state.db")).unwrap();
    let source = IssueSource::Apply;
    for (path, reason, stored) in [
        ("d/a", "d/a: somebody is writing to it", "somebody is writing to it"),
        ("d/a", "cannot be read: d/a: denied", "cannot be read: denied"),
        ("a", "data: it is no path", "data: it is no path"),
        ("", "the disk failed", "the disk failed"),
    ] {
        state.put_issue(path, source, reason).unwrap();
        let issues = state.issues(10).unwrap();
        let of_path = issues.iter().find(|issue| issue.path == path).unwrap();
        assert_eq!(of_path.reason, stored);
        let issues = [(path.to_owned(), reason)].into();
        state.replace_issues(source, &issues).unwrap();
        assert_eq!(state.issues(10).unwrap()[0].reason, stored);
    }
}

#[test]
fn a_mass_deletion_is_known_again_as_it_was_noted() {
    let state = FolderState::open_in_memory().unwrap();
    assert_eq!(state.mass_deletion().unwrap(), None);
    let halt = |entries: std::ops::Range<u8>| Halt {
        deletions: entries.map(|number| EntryId::from_bytes([number; EntryId::LEN])).collect(),
        held: 40,
        lately: 18,
        from_remote: true,
    };
    let first = MassDeletion { halt: halt(1..20), since_ms: 7 };
    let second = MassDeletion { halt: halt(5..30), since_ms: 7 };
    let third = MassDeletion { halt: halt(3..9), since_ms: 9 };
    for (known, mass) in [(None, &first), (Some(&first), &second), (None, &third)] {
        state.set_mass_deletion(known, mass).unwrap();
        assert_eq!(state.mass_deletion().unwrap().as_ref(), Some(mass));
    }
    state.clear_mass_deletion().unwrap();
    assert_eq!(state.mass_deletion().unwrap(), None);
}

#[test]
fn what_is_stored_for_the_guard_and_is_no_value_is_an_error() {
    for broken in [
        "INSERT INTO let_through VALUES (x'01', 1, 5)",
        "INSERT INTO let_through VALUES (zeroblob(16), 'x', 5)",
        "INSERT INTO let_through VALUES (zeroblob(16), 1, -5)",
        "INSERT INTO mass_deletion VALUES (1, -1, 0, 0, 5)",
        "INSERT INTO mass_deletion VALUES (1, 1, 'x', 0, 5)",
        "INSERT INTO mass_deletion VALUES (1, 1, 0, 0, 5); INSERT INTO mass_deleted VALUES ('x')",
    ] {
        let state = FolderState::open_in_memory().unwrap();
        state.connection.execute_batch(broken).unwrap();
        let read = state.let_through().map(drop).and_then(|()| state.mass_deletion().map(drop));
        assert!(read.is_err(), "{broken}");
    }
}
