//! Commands about conflicts: listing, comparing, merging, settling.
//!
//! Owns how devices are named in them, and what a comparison looks like. It must not know how a
//! conflict is settled: that is the engine's.

use super::account::Account;
use super::commands::{at_the_end, find, handle, told};
use super::control::{
    Answer, ConflictsAnswer, Failure, Keep, MergeAnswer, PathArgument, ResolvedAnswer,
    UnknownAnswer,
};
use super::shared::{Shared, blocking};
use super::{paths, summaries};
use crate::engine::handle::ResolveInfo;
use crate::engine::{
    self, Ask, AskError, Comparison, ConflictInfo, FolderHandle, NewContent, Settlement,
};
use client_core::merge::{Labels, Merged, merge, unified};
use client_core::past::{Difference, Shown};
use std::path::PathBuf;

/// Changes inside a bundle that a comparison lists of each side.
const CHANGES_SHOWN: usize = 100;

/// The open conflicts at or below a path, or of all folders.
pub(super) async fn list(
    shared: &Shared,
    path: Option<PathArgument>,
    diff: bool,
) -> Result<Answer, Failure> {
    let asked = match path {
        Some(argument) => {
            let at = paths::resolve(&shared.config(), &argument)?;
            vec![(at.folder, at.path)]
        }
        None => {
            let folders = shared.config().folders.into_iter();
            folders.map(|folder| (folder, String::new())).collect()
        }
    };
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for (folder, under) in asked {
        let conflicts = match handle(shared, &folder) {
            Ok(handle) => {
                let asked = handle.ask(|answer| Ask::ConflictsIn(under, diff, answer)).await;
                asked.map_err(|error| told(&handle, error))
            }
            Err(failure) => Err(failure),
        };
        match conflicts {
            Ok(conflicts) => found.push((folder.name, conflicts)),
            Err(failure) => failed.push((folder.name, failure)),
        }
    }
    if found.is_empty() && !failed.is_empty() {
        return at_the_end(Vec::new(), failed);
    }
    let mut conflicts = Vec::new();
    for (folder, infos) in found {
        for info in infos {
            let labels = labels(&*shared.account.lock().await, &info);
            // Nobody waits for the account, nor for a thread of the runtime, while texts are compared.
            let compare = move || {
                let compared = diff.then(|| compared(&labels, &info));
                (ConflictInfo { compared: None, ..info }, compared)
            };
            let (info, compared) = blocking(compare).await;
            let account = shared.account.lock().await;
            conflicts.push(summaries::conflict(&account, &folder, info, compared));
        }
    }
    let unknown = failed.into_iter();
    let unknown = unknown.map(|(folder, why)| UnknownAnswer { folder, reason: why.message });
    Ok(Answer::Conflicts(ConflictsAnswer { conflicts, unknown: unknown.collect() }))
}

/// What both sides are called above what differs.
fn labels(account: &Account, info: &ConflictInfo) -> [String; 2] {
    let label = |side: usize, path: &str| {
        let device = info.sides.get(side).map(|side| account.device_name(&side.device));
        format!("{path} ({})", device.unwrap_or_default())
    };
    [label(0, &info.path), label(1, &info.copy)]
}

const LINES: &str = "line by line";

/// What each side made of the base, or, of two that are new, how the second differs from the first.
fn compared(labels: &[String; 2], info: &ConflictInfo) -> String {
    let [original_label, copy_label] = labels;
    let summary = |why: &str| {
        let size = |side: usize| info.sides.get(side).map_or(0, |side| side.size);
        let (one, other) = (size(0), size(1));
        format!(
            "{original_label}, {one} bytes, and {copy_label}, {other} bytes, are not compared \
             {why}\n"
        )
    };
    let base_label = format!("{} (base)", info.path);
    match &info.compared {
        None => summary(LINES),
        Some(Comparison::LeftOut) => {
            summary("among so many: `driftless conflicts --diff PATH` compares them")
        }
        Some(Comparison::Bundles(sides)) => {
            let sides = sides.iter().zip(labels);
            sides.map(|(side, label)| listed(&base_label, label, side)).collect()
        }
        Some(Comparison::NewBundles(differences)) => {
            listed(original_label, copy_label, differences)
        }
        Some(Comparison::Texts { base, original, copy }) => {
            let diffs = match base {
                Some(base) => [(original, original_label), (copy, copy_label)]
                    .map(|(text, label)| unified((base, &base_label), (text, label)))
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>(),
                None => {
                    unified((original, original_label), (copy, copy_label)).map(|diff| vec![diff])
                }
            };
            diffs.map_or_else(|_| summary(LINES), |diffs| diffs.concat())
        }
    }
}

/// What differs in a bundle, a line each, below what is compared.
fn listed(from: &str, to: &str, differences: &[Difference]) -> String {
    let line = |it: &Difference| {
        let slash = if it.kind == Shown::Directory { "/" } else { "" };
        format!("{:<10}  {}{slash}\n", summaries::change_text(it.change), it.path)
    };
    let lines: String = differences.iter().take(CHANGES_SHOWN).map(line).collect();
    let rest = match differences.len().saturating_sub(CHANGES_SHOWN) {
        0 => String::new(),
        more => format!("and {more} more\n"),
    };
    format!("--- {from}\n+++ {to}\n{lines}{rest}")
}

/// Settles a conflict with what is there.
pub(super) async fn resolve(
    shared: &Shared,
    path: &PathArgument,
    keep: Keep,
) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let keep = match keep {
        Keep::Mine => engine::Keep::Mine,
        Keep::Theirs => engine::Keep::Theirs,
        Keep::Original => engine::Keep::Original,
        Keep::Copy => engine::Keep::Copy,
        Keep::Both => engine::Keep::Both,
        Keep::Merged => engine::Keep::Merged,
    };
    let on = at.path.clone();
    match handle.ask(|answer| Ask::Resolve(at.path, keep, answer)).await {
        Ok(resolved) => settled(&handle, on, resolved).await,
        Err(error @ AskError::NotMine { .. }) => {
            let account = shared.account.lock().await;
            Err(not_mine(&account, error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Answers when what was kept is on this disk too, or waits for a person.
async fn settled(
    handle: &FolderHandle,
    on: String,
    resolved: ResolveInfo,
) -> Result<Answer, Failure> {
    let ResolveInfo { kept, sent } = resolved;
    let complete = handle.ask(|answer| Ask::Settled(sent, answer)).await?;
    Ok(Answer::Resolved(ResolvedAnswer { done: true, on: vec![on], kept, complete }))
}

/// Neither side is this device's: which is whose, so that a person can name one.
fn not_mine(account: &Account, error: AskError) -> Failure {
    let failure = Failure::from(error.clone());
    let AskError::NotMine { original_by, copy_by, .. } = error else { return failure };
    let (original, copy) = (account.device_name(&original_by), account.device_name(&copy_by));
    let hint = format!(
        "choose by where it stands: --keep original is that of {original}, --keep copy that of {copy}"
    );
    Failure { hint, ..failure }
}

/// What a conflict would be merged from, and the merge.
pub(super) async fn merge_of(shared: &Shared, path: &PathArgument) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let asked = at.path.clone();
    let info = handle.ask(|answer| Ask::Merge(at.path, answer)).await?;
    let account = shared.account.lock().await;
    let labels = Labels {
        mine: format!("mine ({})", account.device_name(&info.mine_by)),
        base: "base".to_owned(),
        theirs: format!("theirs ({})", account.device_name(&info.theirs_by)),
    };
    drop(account);
    let why = |why: String| Failure::from(AskError::NotMergeable { path: asked.clone(), why });
    let merged = merge(&info.base, &info.mine, &info.theirs, &labels);
    let (text, conflicts) = match merged.map_err(|error| why(error.to_string()))? {
        Merged::Clean(text) => (text, 0),
        Merged::Marked { text, conflicts } => (text, conflicts),
    };
    let [base, mine, theirs] = [info.base, info.mine, info.theirs].map(String::from_utf8);
    let read = |text: Result<String, std::string::FromUtf8Error>| {
        text.map_err(|error| why(error.to_string()))
    };
    Ok(Answer::Merge(MergeAnswer {
        path: info.path,
        text,
        conflicts,
        base: read(base)?,
        mine: read(mine)?,
        theirs: read(theirs)?,
        labels: [labels.mine, labels.base, labels.theirs],
        seen: info.seen,
    }))
}

/// Settles a conflict with what a file holds.
pub(super) async fn resolve_with(
    shared: &Shared,
    path: &PathArgument,
    file: PathBuf,
    seen: Option<[u64; 2]>,
) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let on = at.path.clone();
    let settlement = Settlement { content: NewContent::File(file), seen };
    let resolved = handle.ask(|answer| Ask::ResolveWith(at.path, settlement, answer)).await?;
    settled(&handle, on, resolved).await
}
