//! Users who want back what was: a file, a directory or the whole folder, as of some revision.
//!
//! Owns when that happens, drawn from a generator of its own, so that it changes nothing of what the
//! story draws. Nobody waits for a restore: others go on, and its device may be stopped or cut off in
//! the middle of it. What it may bring and take away is the book's to say.

use super::super::bundles::shown;
use super::super::draw::Draw;
use super::super::restored::Asked;
use super::Story;
use client::engine::handle::{Moment, Which};
use client::engine::{Ask, AskError};
use client::fs::memory::user::UserEntry;
use common::revision::Revision;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// After a step somebody wants something back so many times in a thousand.
const REGRETS: u32 = 250;
/// Revisions that are not long ago.
const LATELY: usize = 12;
/// Versions of a file among which one is chosen.
const VERSIONS: u32 = 20;

/// What is wanted back.
pub(super) struct Regrets {
    draw: Draw,
    /// Paths that there ever were, and whether a directory was there last.
    paths: BTreeMap<String, bool>,
    /// Where the journal ended when all was quiet last.
    agreed_at: Revision,
    asked: u64,
    done: Rc<Cell<u64>>,
    /// Those of which nobody heard what became of them.
    unheard: Rc<Cell<u64>>,
}

impl Regrets {
    pub(super) fn new(seed: u64) -> Self {
        let (paths, done, unheard) = (BTreeMap::new(), Rc::default(), Rc::default());
        let draw = Draw::new(seed ^ 0x5e6e_7e75);
        Self { draw, paths, agreed_at: 0, asked: 0, done, unheard }
    }

    /// Restores whose answer was lost: what they had sent may come to pass at any time after.
    pub(super) fn unheard(&self) -> u64 {
        self.unheard.get()
    }

    /// Restores that were asked for, and those that changed something.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.asked, self.done.get())
    }
}

impl Story {
    /// All is quiet: what was before is a past of its own.
    pub(super) fn note_agreement(&mut self) {
        let rows = self.world.journal();
        self.regrets.agreed_at = rows.last().map_or(0, |row| row.entry.revision);
    }

    /// Somebody wants something back, perhaps.
    pub(super) fn regret(&mut self) {
        if !self.kinds.past {
            return;
        }
        for device in &self.world.devices {
            let tree = shown(&device.fs.user()).into_iter();
            let found = tree.map(|(path, it)| (path, matches!(it, UserEntry::Directory(_))));
            self.regrets.paths.extend(found);
        }
        let draw = self.regrets.draw.clone();
        if !draw.per_mille(REGRETS) {
            return;
        }
        let Some(device) = draw.pick(&self.world.devices).map(Rc::clone) else { return };
        let Some(handle) = device.handle() else { return };
        let heard = handle.summary().cursor.map_or(0, |cursor| cursor.revision);
        let (from, back) = match draw.below(10) {
            0..4 => (heard, draw.below(LATELY)),
            4..7 => (self.regrets.agreed_at, draw.below(LATELY)),
            _ => (heard, draw.below(usize::MAX >> 1)),
        };
        let at = from.saturating_sub(back as u64 % from.max(1)).max(1);
        let directories = draw.per_mille(400);
        let paths = self.regrets.paths.iter().filter(|(_, is_one)| **is_one == directories);
        // What is gone is wanted most.
        let tree = shown(&device.fs.user());
        let only_gone = draw.per_mille(600);
        let paths =
            paths.map(|(path, _)| path).filter(|path| !only_gone || !tree.contains_key(*path));
        let paths: Vec<&String> = paths.collect();
        let path = match draw.pick(&paths) {
            Some(path) if draw.per_mille(700) => (*path).clone(),
            _ => String::new(),
        };
        let version = (draw.per_mille(400) && !path.is_empty()).then(|| draw.number());
        let asked = match self.kinds.thinning || version.is_some() {
            true => Asked::of_some_moment(device.device()),
            false => Asked::of(&self.world, device.device(), &path, at),
        };
        if asked.spares.is_some() {
            // Whoever asks agrees to what goes for it.
            device.deletions.set_confirmed(true);
        }
        self.regrets.asked += 1;
        let (done, ledger, number) =
            (Rc::clone(&self.regrets.done), self.world.ledger.clone(), device.number);
        let unheard = Rc::clone(&self.regrets.unheard);
        ledger.log(|| format!("user {number}: wants {path:?} back as of {at}"));
        drop(tokio::task::spawn_local(async move {
            let which = match version {
                Some(number) => one_of_its_versions(&handle, &path, number).await,
                None => None,
            };
            let which = which.unwrap_or(Which::At(Moment::Revision(at)));
            let under_way = ledger.restore_begins(asked);
            let wanted = path.clone();
            let answer = handle.ask(|answer| Ask::Restore(wanted, which, false, answer)).await;
            ledger.restore_ends(under_way);
            let is_lost = matches!(
                answer,
                Err(AskError::Engine(_)
                    | AskError::Offline(_)
                    | AskError::Refused(_)
                    | AskError::NotRunning
                    | AskError::Stopped)
            );
            unheard.set(unheard.get() + u64::from(is_lost));
            if answer.as_ref().is_ok_and(|info| !info.differences.is_empty()) {
                done.set(done.get() + 1);
            }
            ledger.log(|| format!("device {number}: restore of {path:?} to {which:?}: {answer:?}"));
        }));
    }
}

/// One of the versions that `log` shows of a path.
async fn one_of_its_versions(
    handle: &client::engine::FolderHandle,
    path: &str,
    number: u64,
) -> Option<Which> {
    let log = handle.ask(|answer| Ask::Log(path.to_owned(), 0, VERSIONS, answer)).await.ok()?;
    let of_path = |revision: Revision, older| match older {
        0 => Which::Revision(revision),
        older => Which::Older(revision, older),
    };
    let count = log.versions.len().max(1) as u64;
    let version = log.versions.get(usize::try_from(number % count).ok()?)?;
    Some(of_path(version.revision, version.older))
}
