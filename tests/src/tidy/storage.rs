//! Where SQL may stand: the client's state, the server's metadata and its chunk index.

use super::source::has_word;
use super::{Violation, Workspace};

/// Rooms that own a database, with their tests, and the rules themselves, which must name SQL.
const ROOMS: &[&str] = &[
    "client/src/state/",
    "server/src/meta_store/",
    "server/src/chunk_store/index.rs",
    "server/src/chunk_store/index/",
    "server/src/chunk_store/tests/",
    "tests/src/tidy/",
    // Databases of users, whose files are synced.
    "client/src/fs/bundle/database/tests.rs",
    "tests/it/databases.rs",
];

/// How a statement reads; all words must stand on one line.
const STATEMENTS: &[&[&str]] = &[
    &["SELECT ", " FROM "],
    &["INSERT INTO "],
    &["INSERT OR "],
    &["REPLACE INTO "],
    &["UPDATE ", " SET "],
    &["DELETE FROM "],
    &["CREATE TABLE "],
    &["CREATE INDEX "],
    &["CREATE UNIQUE INDEX "],
    &["DROP TABLE "],
    &["ALTER TABLE "],
    &["PRAGMA "],
];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let owned = |path: &str| ROOMS.iter().any(|room| path.starts_with(room));
    let mut found = Vec::new();
    for (path, _) in workspace.texts().filter(|(path, _)| path.ends_with(".sql") && !owned(path)) {
        found.push(Violation::at(path, 0, format!("SQL lives in {ROOMS:?} alone")));
    }
    for (path, source) in workspace.rust().filter(|(path, _)| !owned(path)) {
        for (line, code) in source.code() {
            if has_word(code, "rusqlite") {
                found.push(Violation::at(
                    path,
                    line,
                    format!("rusqlite is for {ROOMS:?} alone: ask the room that owns the database"),
                ));
            }
        }
        for (line, quoted) in source.quoted() {
            if is_sql(quoted) {
                found.push(Violation::at(
                    path,
                    line,
                    format!("SQL lives in {ROOMS:?} alone: ask the room that owns the database"),
                ));
            }
        }
    }
    found
}

fn is_sql(quoted: &str) -> bool {
    let text = format!("{} ", quoted.trim());
    STATEMENTS.iter().any(|words| {
        text.starts_with(words[0]) && words[1..].iter().all(|word| text.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Workspace::of(&[(path, text)])).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn sql_outside_its_rooms_is_found() {
        let text = "use rusqlite::Connection;\nlet a = \"SELECT id FROM t\";\nlet b = \"\n  UPDATE t SET a = 1\";";
        assert_eq!(lines("client/src/engine/run.rs", text), [1, 2, 4]);
        assert!(lines("client/src/state/rows.rs", text).is_empty());
        assert_eq!(lines("server/src/listen/schema.sql", "x"), [0]);
        assert!(lines("server/src/meta_store/schema.sql", "x").is_empty());
    }

    #[test]
    fn prose_is_no_sql() {
        let text = "// SELECT a FROM b\nlet a = \"SELECT a device\"; let b = \"UPDATE yours now\";";
        assert!(lines("client/src/cli/run.rs", text).is_empty());
    }
}
