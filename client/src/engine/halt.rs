//! Why a folder waits for a person, in words.
//!
//! Owns these words. What halts a folder, and what ends it, is decided elsewhere.

use super::guarded::LATELY_S;
use super::handle::HaltReason;
use super::run::{Engine, Halted};
use crate::fs::RelPath;
use crate::scan::RootLoss;
use client_core::planner::Halt;
use common::ids::EntryId;

/// Paths of a mass deletion that a reason names.
const PATHS_SHOWN: usize = 100;

impl Engine {
    /// Why it waits for a person, with what and since when.
    pub(super) fn shown_halt(&self) -> Option<HaltReason> {
        if let Some(halted) = &self.halted {
            return Some(halt_reason(halted));
        }
        let asked = self.guarded.asked()?;
        let shown = asked.halt.deletions.iter().take(PATHS_SHOWN);
        let mut entries: Vec<String> = shown.map(|entry| self.path_to_show(entry)).collect();
        entries.sort();
        let reason = mass_deletion(&asked.halt);
        Some(HaltReason { since_ms: Some(asked.since_ms), entries, ..reason })
    }

    /// Where an entry is or was; its id, when that is not known.
    pub(super) fn path_to_show(&self, entry: &EntryId) -> String {
        let state = &self.context.state;
        let names = [state.remote_path(entry), state.local_path(entry)];
        let names = names.into_iter().filter_map(|names| names.ok().flatten()).next();
        names
            .and_then(|names| RelPath::new(names).ok())
            .map_or_else(|| entry.to_string(), |path| path.to_string())
    }
}

fn mass_deletion(halt: &Halt) -> HaltReason {
    let (count, held) = (halt.deletions.len(), halt.held);
    let source = if halt.from_remote { "the server" } else { "this disk" };
    let hint = "run `driftless confirm` if this is meant, or `driftless confirm --undo`: it \
                brings back what is gone";
    let message = match halt.lately {
        0 => format!("{source} would delete or empty {count} of {held} entries"),
        lately => format!(
            "{source} would delete or empty {count} more of {held} entries, after {lately} in the \
             {LATELY_S} seconds before"
        ),
    };
    HaltReason { can_confirm: true, ..HaltReason::new(message, hint) }
}

fn halt_reason(halted: &Halted) -> HaltReason {
    match halted {
        Halted::Root(reason) => {
            let message = format!("the folder's root is not there: {reason}");
            HaltReason::new(message, root_hint(reason))
        }
        Halted::Rollback { restored } => {
            let message = format!(
                "the server was restored from a backup of revision {}; newer changes are only on \
                 devices",
                restored.revision
            );
            let hint = "run `driftless confirm` on one device to go on from there; nothing is \
                        deleted";
            HaltReason { can_confirm: true, ..HaltReason::new(message, hint) }
        }
        Halted::Alarm(message) => HaltReason::new(
            message,
            "do not go on with this server before you know why; nothing was changed here",
        ),
    }
}

fn root_hint(loss: &RootLoss) -> &'static str {
    match loss {
        RootLoss::Unmarked => {
            "mount or restore it; syncing goes on by itself when it is back. If the files are there \
             and only .driftless was deleted, `driftless folder rm` and then `driftless folder \
             link` take the folder up again: nothing is deleted here or there"
        }
        RootLoss::Foreign | RootLoss::Unreadable(_) => {
            "mount or restore it; syncing goes on by itself when it is back"
        }
    }
}
