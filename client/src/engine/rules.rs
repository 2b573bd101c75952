//! The rules of `.driftlessignore` and `.driftlessbundles`, as far as this device knows them.
//!
//! Owns when they are read and from when on they are known: nothing is planned or uploaded before, for
//! what is ignored must not leave this device, and what is to be whole must not leave it in parts. It
//! must not know what a rule means.

use super::online::RoundError;
use super::phases::is_racy;
use super::run::Engine;
use crate::context::FolderContext;
use crate::fs::{Area, FsError, RelPath};
use crate::scan::Target;
use crate::state::{IGNORED, IssueSource, StateError};
use client_core::bundles::BundleRules;
use client_core::ignore::{IgnoreProblem, IgnoreRules};
use client_core::tree::Position;
use common::ids::EntryId;
use common::limits::IGNORE_FILE_BYTES_MAX;
use common::name::{BUNDLES_FILE, IGNORE_FILE, Name};
use common::record::Kind;

/// Looks at a file that does not come to rest before it is taken as it is.
const UNSETTLED_MAX: u32 = 20;

/// Under which keys the texts are kept that were last read.
const RULES: &str = "ignore";
const BUNDLES: &str = "bundles";

/// How far the rules are known.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) are_known: bool,
    /// Whether what says which directories are bundles came from another device.
    pub(super) are_of_others: bool,
    /// How often in a row one of the files was found being written.
    unsettled: u32,
}

/// A file of rules as it was read.
struct Text {
    text: Vec<u8>,
    /// What was read before, if anything ever was.
    before: Option<Vec<u8>>,
    /// Why it could not be read: then `text` is what it said before.
    trouble: Option<String>,
}

impl Text {
    fn is_new(&self) -> bool {
        self.before.as_deref().unwrap_or_default() != self.text
    }

    fn is_known(&self) -> bool {
        self.trouble.is_none() || self.before.is_some()
    }
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
    pub(super) fn load_rules(&mut self) -> Result<bool, RoundError> {
        self.rules.are_known = false;
        let Some(bundles) = self.read_text(BUNDLES_FILE, BUNDLES)? else { return Ok(false) };
        let Some(ignore) = self.read_text(IGNORE_FILE, RULES)? else { return Ok(false) };
        self.rules.unsettled = 0;
        self.rules.are_known = ignore.is_known() && bundles.is_known();

        let (rules, problems) = BundleRules::parse(&bundles.text);
        self.context.bundles.set_rules(rules);
        self.keep_text(BUNDLES_FILE, BUNDLES, &bundles, &problems)?;
        let (rules, problems) = IgnoreRules::parse(&ignore.text);
        self.ignore = rules;
        self.keep_text(IGNORE_FILE, RULES, &ignore, &problems)?;
        if self.rules.are_known && bundles.is_new() {
            self.rules.are_of_others = self.is_as_synced(BUNDLES_FILE)?;
        }
        if self.rules.are_known && (ignore.is_new() || bundles.is_new()) {
            self.targets.insert(Target::Subtree(RelPath::root()));
            self.refresh_ignored()?;
        }
        Ok(self.rules.are_known)
    }

    /// Reads a file of rules; `None` while it is being written.
    fn read_text(&mut self, file: &str, key: &str) -> Result<Option<Text>, RoundError> {
        let before = self.context.state.meta(key)?;
        Ok(match self.read_rules(&at_root(file)) {
            Found::Text(text) => Some(Text { text, before, trouble: None }),
            Found::BeingWritten(text) => {
                self.rules.unsettled += 1;
                let is_taken = self.rules.unsettled > UNSETTLED_MAX;
                is_taken.then_some(Text { text, before, trouble: None })
            }
            Found::Unreadable(error) => {
                let text = before.clone().unwrap_or_default();
                let trouble = format!("cannot be read, so its rules stay as they were: {error}");
                Some(Text { text, before, trouble: Some(trouble) })
            }
        })
    }

    /// Whether a file of rules stands on this disk as the server has it, or on neither any more.
    fn is_as_synced(&self, file: &str) -> Result<bool, StateError> {
        let state = &self.context.state;
        let Ok(name) = Name::new(file) else { return Ok(false) };
        let position = Position { parent: EntryId::ROOT, name };
        let stands = self.context.fs.stat(&at_root(file));
        let Some(row) = state.local_row_at(&position)? else {
            let is_gone = stands.is_err_and(|error| error.is_not_found());
            return Ok(is_gone && state.remote_row_at(&position)?.is_none());
        };
        let base = state.synced_node(&row.entry)?;
        let is_synced = base.is_some_and(|base| row.node().content == Some(base.content));
        Ok(is_synced && stands.is_ok_and(|stat| stat.same_content(&row.stat)))
    }

    /// Remembers a file of rules, and lists what is wrong with it.
    fn keep_text(
        &self,
        file: &str,
        key: &str,
        read: &Text,
        problems: &[IgnoreProblem],
    ) -> Result<(), RoundError> {
        let state = &self.context.state;
        state.clear_issue(file, IssueSource::Ignore)?;
        let problem = problems.first().map(ToString::to_string);
        if let Some(problem) = read.trouble.clone().or(problem) {
            state.put_issue(file, IssueSource::Ignore, &problem)?;
        }
        if self.rules.are_known && read.before.as_ref() != Some(&read.text) {
            state.set_meta(key, &read.text)?;
        }
        Ok(())
    }

    fn read_rules(&self, path: &RelPath) -> Found {
        let read = || {
            let file = self.context.fs.open(path)?;
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

    /// Fetches the server's rules where this disk has never had any, and drops those that another device
    /// has deleted, before anything of this disk is sent. Returns whether this round has done so.
    pub(super) async fn fetch_rules(&mut self) -> Result<bool, RoundError> {
        if self.is_outlived(BUNDLES_FILE, BUNDLES)? || self.is_outlived(IGNORE_FILE, RULES)? {
            if !self.load_rules()? {
                self.targets.extend(rules_files().map(Target::Path));
            }
            return Ok(true);
        }
        for file in [BUNDLES_FILE, IGNORE_FILE] {
            let Some(entry) = self.missing_rules(file)? else { continue };
            let plan = self.plan(Some(entry))?;
            if plan.batches.is_empty() {
                continue;
            }
            self.carry_out(plan).await?;
            if self.context.state.local_row(&entry)?.is_some() {
                self.rules.are_known = false;
                self.targets.insert(Target::Subtree(RelPath::root()));
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether this device goes by a file of rules that is gone. No row of it is left that a scan could
    /// miss: the deletion came from another device.
    fn is_outlived(&self, file: &str, key: &str) -> Result<bool, StateError> {
        let state = &self.context.state;
        let Ok(name) = Name::new(file) else { return Ok(false) };
        let position = Position { parent: EntryId::ROOT, name };
        if state.meta(key)?.is_none_or(|text| text.is_empty())
            || state.local_entry_at(&position)?.is_some()
        {
            return Ok(false);
        }
        // One that takes the place of another is on its way: until then the old rules hold.
        let has_another = state.remote_entry_at(&position)?.is_some();
        let stands = self.context.fs.stat(&at_root(file));
        Ok(!has_another && stands.is_err_and(|error| error.is_not_found()))
    }

    /// The server's file of rules, if this disk has never had one and it is not known to be
    /// unobtainable.
    fn missing_rules(&self, file: &str) -> Result<Option<EntryId>, StateError> {
        let state = &self.context.state;
        let Ok(name) = Name::new(file) else { return Ok(None) };
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
                let is = self.ignore.is_ignored(parts, row.node.shows_directory());
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
pub(super) fn known_rules(context: &FolderContext) -> Result<IgnoreRules, StateError> {
    let text = |key| Ok::<_, StateError>(context.state.meta(key)?.unwrap_or_default());
    context.bundles.set_rules(BundleRules::parse(&text(BUNDLES)?).0);
    Ok(IgnoreRules::parse(&text(RULES)?).0)
}

/// Where the rules are.
pub(super) fn rules_files() -> [RelPath; 2] {
    [IGNORE_FILE, BUNDLES_FILE].map(at_root)
}

fn at_root(name: &str) -> RelPath {
    Name::new(name).map_or_else(|_| RelPath::root(), |name| RelPath::inside(Area::Tree, name))
}
