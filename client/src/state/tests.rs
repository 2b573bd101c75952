//! Databases of earlier versions, opened by this one.

use super::{FolderState, MIGRATIONS};
use common::ids::EntryId;
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
