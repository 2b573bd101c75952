//! How SQLite finds rows: by the index that is there for it, in a database without statistics.

use super::SqliteStore;
use super::registers::{CHANGED_FEW, CHANGES_AFTER, CHANGES_FEW, CLOSINGS, DELETED, TIMELINE};
use super::retention::conflicts_naming;
use crate::meta_store::schema::migrate;
use rusqlite::Connection;

/// The steps that look at rows.
fn searches(sql: &str) -> Vec<String> {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let none = vec![rusqlite::types::Null; plan.parameter_count()];
    let steps = plan.query_map(rusqlite::params_from_iter(none), |row| row.get::<_, String>(3));
    let steps = steps.unwrap().map(|step| step.unwrap());
    steps.filter(|step| step.starts_with("SEARCH") || step.starts_with("SCAN")).collect()
}

#[test]
fn conflicts_of_an_entry_are_found_without_a_walk_over_those_of_the_folder() {
    assert_eq!(
        searches(CLOSINGS),
        [
            "SEARCH conflicts USING COVERING INDEX conflicts_closed_by_entry (folder=? AND entry=? AND closed<?)",
            "SEARCH conflicts USING COVERING INDEX conflicts_closed_by_copy (folder=? AND copy=? AND closed<?)"
        ]
    );
    assert_eq!(
        searches(&conflicts_naming()),
        [
            "SEARCH conflicts USING INDEX conflicts_open_by_entry (folder=? AND entry=?)",
            "SEARCH conflicts USING INDEX conflicts_open_by_copy (folder=? AND copy=?)"
        ]
    );
}

#[test]
fn the_timeline_is_read_from_its_newest_end() {
    let steps = searches(TIMELINE);
    let conflicts = "SEARCH k USING INDEX conflicts_by_closed (folder=? AND closed<?)";
    let entries = "SEARCH e USING COVERING INDEX entries_by_id (folder=? AND entry=?)";
    assert_eq!(steps[0], "SEARCH changes USING PRIMARY KEY (folder=? AND revision<?)");
    assert_eq!(steps[2..4], [conflicts, entries]);
    assert_eq!(steps[5..7], [conflicts, entries]);
}

#[test]
fn deleted_entries_are_found_without_a_walk_over_those_that_live() {
    assert_eq!(
        searches(DELETED),
        ["SEARCH entries USING COVERING INDEX entries_deleted (folder=? AND entry>?)"]
    );
}

#[test]
fn changes_are_counted_in_order_of_revision_and_no_more_than_are_asked_for() {
    let counted = searches(CHANGES_AFTER);
    assert_eq!(counted[0], "SEARCH changes USING PRIMARY KEY (folder=? AND revision>?)");
}

#[test]
fn a_single_revision_with_many_changes_is_not_looked_through_for_each_page() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    let sql = "WITH RECURSIVE n(entry) AS (SELECT 1 UNION ALL SELECT entry + 1 FROM n LIMIT ?1)
        INSERT INTO changes (folder, revision, entry) SELECT 1, 2, entry FROM n";
    connection.execute(sql, [CHANGES_FEW as i64]).unwrap();
    let store = SqliteStore::new(connection);
    assert_eq!(store.changed_after(1, 1).unwrap(), CHANGED_FEW);
    store.run("INSERT INTO changes (folder, revision, entry) VALUES (1, 2, -1)", []).unwrap();
    assert_ne!(store.changed_after(1, 1).unwrap(), CHANGED_FEW);
    assert_eq!(store.changed_after(1, 2).unwrap(), CHANGED_FEW);
}
