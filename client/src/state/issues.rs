//! Paths that are not synced, and why.

use super::{FolderState, StateError};
use rusqlite::params;
use std::collections::BTreeMap;

/// Which phase found an issue; a phase replaces only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueSource {
    /// Found while looking at the disk.
    Scan,
    /// Found in the file with the ignore patterns.
    Ignore,
    /// Found while planning.
    Plan,
    /// Found while carrying a plan out.
    Apply,
    /// Found in what the server sent.
    Remote,
    /// The disk failed.
    Disk,
}

impl IssueSource {
    const fn text(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Ignore => "ignore",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Remote => "remote",
            Self::Disk => "disk",
        }
    }
}

/// A path that is not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIssue {
    /// Relative to the folder, lossy where it is not UTF-8.
    pub path: String,
    /// For a person: what is wrong and what helps.
    pub reason: String,
}

impl FolderState {
    /// Stores an issue; a later one of the same source at the same path replaces it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_issue(
        &self,
        path: &str,
        source: IssueSource,
        reason: &str,
    ) -> Result<(), StateError> {
        self.execute(
            "INSERT OR REPLACE INTO issue (path, source, reason) VALUES (?1, ?2, ?3)",
            params![path, source.text(), without_path(path, reason)],
        )?;
        Ok(())
    }

    /// Makes these, each a path and a reason, all the issues of a source.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn replace_issues(
        &self,
        source: IssueSource,
        issues: &BTreeMap<String, &str>,
    ) -> Result<(), StateError> {
        let sql = "SELECT path, reason FROM issue WHERE source = ?1";
        let stored: Vec<(String, String)> =
            self.all(sql, [source.text()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (path, _) in stored.iter().filter(|(path, _)| !issues.contains_key(path)) {
            self.clear_issue(path, source)?;
        }
        let stored: BTreeMap<String, String> = stored.into_iter().collect();
        for (path, reason) in issues {
            if stored.get(path).is_none_or(|before| *before != without_path(path, reason)) {
                self.put_issue(path, source, reason)?;
            }
        }
        Ok(())
    }

    /// Removes the issue of one path and source.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_issue(&self, path: &str, source: IssueSource) -> Result<(), StateError> {
        self.execute(
            "DELETE FROM issue WHERE path = ?1 AND source = ?2",
            params![path, source.text()],
        )?;
        Ok(())
    }

    /// Removes a source's issues directly inside a directory (`""` for the root), or everywhere
    /// with `None`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_issues(
        &self,
        directory: Option<&str>,
        source: IssueSource,
    ) -> Result<(), StateError> {
        let Some(directory) = directory else {
            self.execute("DELETE FROM issue WHERE source = ?1", [source.text()])?;
            return Ok(());
        };
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.execute(
            "DELETE FROM issue WHERE source = ?1 AND substr(path, 1, length(?2)) = ?2
             AND instr(substr(path, length(?2) + 1), '/') = 0",
            params![source.text(), prefix],
        )?;
        Ok(())
    }

    /// At most `limit` issues, by path.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn issues(&self, limit: u32) -> Result<Vec<StoredIssue>, StateError> {
        self.all("SELECT path, reason FROM issue ORDER BY path, source LIMIT ?1", [limit], |row| {
            Ok(StoredIssue { path: row.get(0)?, reason: row.get(1)? })
        })
    }

    /// Where a source has issues.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn issue_paths(&self, source: IssueSource) -> Result<Vec<String>, StateError> {
        self.all("SELECT path FROM issue WHERE source = ?1", [source.text()], |row| row.get(0))
    }

    /// Remembers that a deleted directory is kept on disk for the ignored files in it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_residue(&self, path: &str) -> Result<(), StateError> {
        self.execute("INSERT OR IGNORE INTO residue (path) VALUES (?1)", [path])?;
        Ok(())
    }

    /// Whether a directory is only kept for the ignored files in it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn is_residue(&self, path: &str) -> Result<bool, StateError> {
        Ok(self.find("SELECT 1 FROM residue WHERE path = ?1", [path], |_| Ok(()))?.is_some())
    }

    /// Forgets such a directory: it is gone or wanted again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_residue(&self, path: &str) -> Result<(), StateError> {
        self.execute("DELETE FROM residue WHERE path = ?1", [path])?;
        Ok(())
    }

    /// Such directories below another, at whatever depth; all of them below the empty path.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn residues_below(&self, directory: &str) -> Result<Vec<String>, StateError> {
        if directory.is_empty() {
            return self.all("SELECT path FROM residue", [], |row| row.get(0));
        }
        // What comes after a slash is a zero.
        let query = "SELECT path FROM residue WHERE path > ?1 || '/' AND path < ?1 || '0'";
        self.all(query, [directory], |row| row.get(0))
    }
}

/// A reason that does not name the path once more: errors of the disk begin with it.
fn without_path(path: &str, reason: &str) -> String {
    let named = format!("{path}: ");
    match reason.strip_prefix(&named) {
        _ if path.is_empty() => reason.to_owned(),
        Some(rest) => rest.to_owned(),
        None => reason.replacen(&format!(": {named}"), ": ", 1),
    }
}
