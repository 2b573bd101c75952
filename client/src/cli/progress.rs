//! Progress of long work: drawn over itself on a terminal, lines when a folder's state changes
//! elsewhere.
//!
//! Owns what is shown and when. It must not know where progress comes from.

use super::output::Output;
use super::table::{count, printable, size};
use crate::daemon::control::{FolderProgress, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::time::Duration;

/// Shows the progress of folders.
pub(super) struct Shown {
    output: Output,
    bars: Option<MultiProgress>,
    folders: BTreeMap<String, Folder>,
    /// Whether folders that are idle are shown too.
    keeps_idle: bool,
}

struct Folder {
    bar: Option<ProgressBar>,
    /// The state that was shown last, in words.
    told: Option<&'static str>,
    /// Bytes when the folder was last at rest.
    base: (u64, u64),
}

impl Shown {
    /// Progress that is drawn while it lasts. With `keeps_idle`, folders at rest are shown too.
    pub(super) fn new(output: Output, keeps_idle: bool) -> Self {
        let draws = output.is_watched();
        let bars = draws.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { output, bars, folders: BTreeMap::new(), keeps_idle }
    }

    /// Shows how far folders are now.
    pub(super) fn update(&mut self, progress: &[FolderProgress]) {
        for now in progress {
            self.update_folder(now);
        }
        self.folders.retain(|name, folder| {
            let is_there = progress.iter().any(|now| now.name == *name);
            if !is_there && let Some(bar) = &folder.bar {
                bar.finish_and_clear();
            }
            is_there
        });
    }

    fn update_folder(&mut self, now: &FolderProgress) {
        let bars = self.bars.as_ref();
        let folder = self.folders.entry(now.name.clone()).or_insert_with(|| Folder {
            bar: bars.map(|bars| bars.add(spinner())),
            told: None,
            base: (now.bytes_up, now.bytes_down),
        });
        let is_at_rest = !matches!(now.state, State::Scanning | State::Syncing);
        if is_at_rest {
            folder.base = (now.bytes_up, now.bytes_down);
        }
        let text = text(now, folder.base);
        let told = state_text(now.state, now.issues);
        match &folder.bar {
            Some(bar) if is_at_rest && !self.keeps_idle => bar.set_message(String::new()),
            Some(bar) => bar.set_message(text),
            None if folder.told != Some(told) => self.output.remark(&text),
            None => {}
        }
        folder.told = Some(told);
    }

    /// Takes the drawing away.
    pub(super) fn clear(&self) {
        for bar in self.folders.values().filter_map(|folder| folder.bar.as_ref()) {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The template is a constant that parses; the default serves as well.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn text(now: &FolderProgress, base: (u64, u64)) -> String {
    let mut parts =
        vec![format!("{}: {}", printable(&now.name), state_text(now.state, now.issues))];
    if now.state == State::Scanning && now.scanned > 0 {
        parts.push(format!("{} looked at", count(now.scanned, "entry", "entries")));
    }
    for (pending, bytes, way) in [
        (now.pending_up, now.bytes_up.saturating_sub(base.0), "up"),
        (now.pending_down, now.bytes_down.saturating_sub(base.1), "down"),
    ] {
        if pending > 0 || bytes > 0 {
            parts.push(format!("{way} {} left, {} done", pending, size(bytes)));
        }
    }
    parts.join(", ")
}

/// A state in a few words. What is at rest is up to date only when no path waits.
pub(super) fn state_text(state: State, issues: u64) -> &'static str {
    match state {
        State::Idle if issues > 0 => "up to date but for paths that are not synced",
        State::Scanning => "scanning",
        State::Syncing => "syncing",
        State::Idle => "up to date",
        State::Offline => "offline",
        State::Paused => "paused",
        State::Halted => "halted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_what_is_left() {
        let mut now = FolderProgress {
            name: "notes".into(),
            state: State::Scanning,
            scanned: 1,
            pending_up: 0,
            pending_down: 0,
            issues: 0,
            bytes_up: 0,
            bytes_down: 0,
        };
        assert_eq!(text(&now, (0, 0)), "notes: scanning, 1 entry looked at");
        now.state = State::Syncing;
        now.pending_up = 3;
        now.bytes_up = 2048;
        assert_eq!(text(&now, (1024, 0)), "notes: syncing, up 3 left, 1.0 KiB done");
        now.state = State::Idle;
        now.pending_up = 0;
        assert_eq!(text(&now, (2048, 0)), "notes: up to date");
        now.issues = 1;
        assert_eq!(text(&now, (2048, 0)), "notes: up to date but for paths that are not synced");
    }
}
