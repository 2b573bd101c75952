//! The rules of `.driftlessignore`, as far as this device knows them.
//!
//! Owns when they are read and from when on they are known: nothing is planned or uploaded before, for
//! what is ignored must not leave this device. It must not know what a rule means.

use super::online::RoundError;
use super::phases::is_racy;
use super::run::Engine;
use crate::fs::{FsError, RelPath};
use crate::scan::Target;
use crate::state::{FolderState, IGNORED, IssueSource, StateError};
use client_core::ignore::IgnoreRules;
use client_core::tree::Position;
use common::ids::EntryId;
use common::limits::IGNORE_FILE_BYTES_MAX;
use common::name::{IGNORE_FILE, Name};
use common::record::Kind;

/// Looks at a file that does not come to rest before it is taken as it is.
const UNSETTLED_MAX: u32 = 20;

/// Under which key the text of the rules is kept that was last read.
const RULES: &str = "ignore";

/// How far the rules are known.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) are_known: bool,
    /// How often in a row the file was found being written.
    unsettled: u32,
}

enum Found {
    Text(Vec<u8>),
    /// It was written just now, and more may follow.
    BeingWritten(Vec<u8>),
    Unreadable(FsError),
}

impl Engine {
    /// Reads the rules of this disk. Returns whether they are known: a file that is being written is
    /// to be looked at again soon, and one that cannot be read changes nothing of what it said.
    pub(super) fn load_ignore(&mut self) -> Result<bool, RoundError> {
        let before = self.context.state.meta(RULES)?;
        self.rules.are_known = true;
        let (text, trouble) = match self.read_rules() {
            Found::Text(text) => (text, None),
            Found::BeingWritten(text) => {
                self.rules.unsettled += 1;
                if self.rules.unsettled <= UNSETTLED_MAX {
                    self.rules.are_known = false;
                    return Ok(false);
                }
                (text, None)
            }
            Found::Unreadable(error) => {
                self.rules.are_known = before.is_some();
                let text = before.clone().unwrap_or_default();
                (text, Some(format!("cannot be read, so its rules stay as they were: {error}")))
            }
        };
        self.rules.unsettled = 0;
        let (rules, problems) = IgnoreRules::parse(&text);
        self.ignore = rules;
        self.context.state.clear_issue(IGNORE_FILE, IssueSource::Ignore)?;
        if let Some(problem) = trouble.or_else(|| problems.first().map(ToString::to_string)) {
            self.context.state.put_issue(IGNORE_FILE, IssueSource::Ignore, &problem)?;
        }
        if self.rules.are_known && before.as_ref() != Some(&text) {
            self.context.state.set_meta(RULES, &text)?;
        }
        if self.rules.are_known && before.unwrap_or_default() != text {
            self.targets.insert(Target::Subtree(RelPath::root()));
            self.refresh_ignored()?;
        }
        Ok(self.rules.are_known)
    }

    fn read_rules(&self) -> Found {
        let read = || {
            let file = self.context.fs.open(&ignore_file())?;
            let begun_ns = self.context.environment.now_ns();
            let before = file.stat()?;
            let mut text =
                vec![0; usize::try_from(IGNORE_FILE_BYTES_MAX + 1).unwrap_or(usize::MAX)];
            let length = file.read_at(0, &mut text)?;
            text.truncate(length);
            let after = file.stat()?;
            let rests = before.same_content(&after)
                && before.ctime_ns == after.ctime_ns
                && !is_racy(&after, begun_ns, self.context.environment.now_ns());
            Ok(if rests { Found::Text(text) } else { Found::BeingWritten(text) })
        };
        match read() {
            Ok(found) => found,
            Err(error) if FsError::is_not_found(&error) => Found::Text(Vec::new()),
            Err(error) => Found::Unreadable(error),
        }
    }

    /// Fetches the server's rules where this disk has never had any, before anything of this disk is
    /// sent. Returns whether this round has done so.
    pub(super) async fn fetch_rules(&mut self) -> Result<bool, RoundError> {
        let Some(entry) = self.missing_rules()? else { return Ok(false) };
        let plan = self.plan(Some(entry))?;
        if plan.batches.is_empty() {
            return Ok(false);
        }
        self.carry_out(plan).await?;
        if self.context.state.local_row(&entry)?.is_some() {
            self.rules.are_known = false;
            self.targets.insert(Target::Subtree(RelPath::root()));
        }
        Ok(true)
    }

    /// The server's file of rules, if this disk has never had one and it is not known to be
    /// unobtainable.
    fn missing_rules(&self) -> Result<Option<EntryId>, StateError> {
        let state = &self.context.state;
        let Ok(name) = Name::new(IGNORE_FILE) else { return Ok(None) };
        let position = Position { parent: EntryId::ROOT, name };
        if state.local_entry_at(&position)?.is_some() {
            return Ok(None);
        }
        let Some(row) = state.remote_row_at(&position)? else { return Ok(None) };
        let entry = row.node.entry;
        let is_missing = row.node.kind == Kind::File
            && state.synced_node(&entry)?.is_none()
            && !self.failed.contains(&entry);
        Ok(is_missing.then_some(entry))
    }

    /// Hides remote entries at ignored paths from the planner, and shows those that no longer are.
    pub(super) fn refresh_ignored(&self) -> Result<(), RoundError> {
        self.context.state.atomically(|state| {
            for (entry, _) in state.remote_hashes()? {
                let Some(mut row) = state.remote_row(&entry)? else { continue };
                let was = row.broken.as_deref() == Some(IGNORED);
                if row.broken.is_some() && !was {
                    continue;
                }
                let names = state.remote_path(&entry)?.unwrap_or_default();
                let parts = names.iter().map(Name::as_str);
                let is = self.ignore.is_ignored(parts, row.node.kind == Kind::Directory);
                if is != was {
                    row.broken = is.then(|| IGNORED.to_owned());
                    state.put_remote(&row)?;
                }
            }
            Ok::<_, StateError>(())
        })?;
        Ok(())
    }
}

/// The rules as they were last read.
pub(super) fn known_rules(state: &FolderState) -> Result<IgnoreRules, StateError> {
    Ok(IgnoreRules::parse(&state.meta(RULES)?.unwrap_or_default()).0)
}

/// Where the rules are.
pub(super) fn ignore_file() -> RelPath {
    Name::new(IGNORE_FILE)
        .ok()
        .and_then(|name| RelPath::new(vec![name]).ok())
        .unwrap_or_else(RelPath::root)
}
