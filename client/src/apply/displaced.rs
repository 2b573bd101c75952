//! Files that were replaced or deleted, until it is sure that nobody writes to them any more.
//!
//! Owns the second half of rule 5: a program may hold a displaced file open and go on writing. Such
//! a file stays in `.driftless/displaced` until a read lease proves that no writer is left; if it is
//! not what it was then, it comes back as a file beside the one that took its place.

use crate::context::FolderContext;
use crate::fs::{Area, FsError, RelPath, Stat};
use crate::state::{LocalRow, StateError};
use client_core::conflict::kept_name;
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;
use std::collections::BTreeSet;

/// How long a displaced bundle stays for the programs that were reading in it, in ns since it was
/// displaced: none of them holds all of its files open.
const LEFT_NS: i64 = 60_000_000_000;
/// Names that are tried for what is kept.
const NUMBER_MAX: u32 = 1_000;

/// A displaced file's path: its name says what it was when it was displaced, and where.
pub(super) fn path(context: &FolderContext, row: &LocalRow) -> RelPath {
    path_of(context, &row.entry, [&row.stat; 2])
}

/// A path for what looks like one of these two: of a database that is being settled nobody knows after a
/// crash whether it or its copy lies there.
fn path_of(context: &FolderContext, entry: &EntryId, [stat, other]: [&Stat; 2]) -> RelPath {
    let looks = match stat.is_bundle() {
        true => format!("{:x}", stat.inode),
        false => format!("{}-{}", other.size, other.mtime_ns),
    };
    let fresh = context.fresh_name();
    let text = format!("{entry}.{}.{}.{looks}.{fresh}", stat.size, stat.mtime_ns);
    let name =
        Name::new(text).unwrap_or_else(|error| unreachable!("digits and dots are a name: {error}"));
    RelPath::inside(Area::Displaced, name)
}

/// Replaces the file at `path`, which must be what `row` says, by a staged one. `false` when it was
/// something else: then the staged file is nobody's, if it is still there, and what the user had written
/// is where it was, or beside it.
///
/// The staged file goes to the displaced area first, so that after a crash at any point what is in
/// staging is never a user's; what a power cut takes back there is told by its note.
///
/// # Errors
/// [`FsError`] when nothing was exchanged, or when what was displaced could not be dealt with: then
/// it stays in the displaced area.
pub(super) fn replace(
    context: &FolderContext,
    staged: &RelPath,
    staged_stat: &Stat,
    path: &RelPath,
    row: &LocalRow,
) -> Result<bool, FsError> {
    let fs = &context.fs;
    if !fs.stat(path)?.same_content(&row.stat) {
        return Ok(false);
    }
    let contents = staged_stat.is_bundle().then(|| context.bundles.contents(staged)).transpose()?;
    let aside = self::path(context, row);
    fs.rename_noreplace(staged, &aside)?;
    match fs.exchange(&aside, path) {
        Ok(()) => {}
        Err(error) if error.is_unsupported() => {
            fs.rename_noreplace(&aside, staged)?;
            return replace_in_two(context, staged, path, row);
        }
        Err(error) => {
            discard(context, &aside)?;
            return Err(error);
        }
    }
    let is_expected = match fs.stat(&aside) {
        Ok(stat) => stat.same_content(&row.stat),
        // The exchange stands all the same; what was displaced is looked at when it is reviewed.
        Err(error) => {
            tracing::warn!(%error, "a displaced file could not be looked at");
            return Ok(true);
        }
    };
    if is_expected {
        review_soon(context, &aside);
        return Ok(true);
    }
    // What was there is not what the plan saw: it goes back, and with it whatever was written to
    // the path meanwhile is kept beside it.
    fs.exchange(&aside, path)?;
    if let Some(contents) = contents {
        let scratch = context.fresh_name();
        context.bundles.carry_over(&aside, path, &contents, &scratch)?;
    }
    if fs.stat(&aside)?.same_content(staged_stat) {
        discard(context, &aside)?;
    } else {
        keep_beside(context, &aside, path)?;
    }
    Ok(false)
}

/// Where the filesystem cannot exchange: aside, checked, then in. The path is free in between.
fn replace_in_two(
    context: &FolderContext,
    staged: &RelPath,
    path: &RelPath,
    row: &LocalRow,
) -> Result<bool, FsError> {
    let fs = &context.fs;
    let aside = self::path(context, row);
    fs.rename_noreplace(path, &aside)?;
    if !fs.stat(&aside)?.same_content(&row.stat) {
        put_back(context, &aside, path)?;
        return Ok(false);
    }
    match fs.rename_noreplace(staged, path) {
        Ok(()) => {}
        Err(FsError::Exists { .. }) => {
            // Somebody made a file there meanwhile: theirs stays, and the old version is synced.
            review_soon(context, &aside);
            return Ok(false);
        }
        Err(error) => {
            put_back(context, &aside, path)?;
            return Err(error);
        }
    }
    review_soon(context, &aside);
    Ok(true)
}

/// Makes one plain file of the database that stands at a path and is what `row` says, so that what is
/// done to it next is done to all of it. The row is as it looks then; of anything else it stays the same.
///
/// # Errors
/// [`FsError`]; then it holds what it held, and what a program has added. [`FsError::Busy`] while one has
/// it open.
pub(super) fn settle(
    context: &FolderContext,
    path: &RelPath,
    row: LocalRow,
) -> Result<LocalRow, FsError> {
    if row.kind != Kind::File || !context.bundles.is_unsettled(path)? {
        return Ok(row);
    }
    let away = |looks: [&Stat; 2]| path_of(context, &row.entry, looks);
    let settled = context.bundles.settle(path, &row.stat, &away, &context.fresh_name())?;
    Ok(settled.map_or(row.clone(), |stat| LocalRow { stat, ..row }))
}

/// Removes what lies in the displaced area and is nobody's. A bundle goes by way of staging: a removal
/// that stops half way leaves what nobody takes for a user's there.
fn discard(context: &FolderContext, aside: &RelPath) -> Result<(), FsError> {
    if !context.fs.stat(aside)?.is_bundle() {
        return context.fs.remove(aside);
    }
    let out = RelPath::inside(Area::Staging, context.fresh_name());
    context.fs.rename_noreplace(aside, &out)?;
    context.fs.remove(&out)
}

/// Reviews a file that has just been displaced. What fails here is tried again with every review:
/// what displaced it is in place, and that must not be taken for a failure.
pub(super) fn review_soon(context: &FolderContext, aside: &RelPath) {
    if let Err(error) = review(context, aside) {
        tracing::warn!(%error, "a displaced file is kept until it can be reviewed");
    }
}

/// What a displaced file's name says.
struct Expected {
    entry: EntryId,
    size: u64,
    mtime_ns: i64,
    /// Of a bundle, what a look at all of it came to; of anything else, another size and mtime that are
    /// as good.
    looks: String,
}

impl Expected {
    fn of(name: &Name) -> Option<Self> {
        let mut fields = name.as_str().split('.');
        let entry = parse_entry(fields.next()?)?;
        let (size, mtime_ns) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { entry, size, mtime_ns, looks: fields.next()?.to_owned() })
    }

    /// Whether it is what it was when it was displaced.
    fn is_still(&self, stat: &Stat) -> bool {
        let is_first = stat.size == self.size && stat.mtime_ns == self.mtime_ns;
        match stat.is_bundle() {
            true => is_first && format!("{:x}", stat.inode) == self.looks,
            false => is_first || format!("{}-{}", stat.size, stat.mtime_ns) == self.looks,
        }
    }
}

fn parse_entry(text: &str) -> Option<common::ids::EntryId> {
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(common::ids::EntryId::from_bytes(number.to_be_bytes()))
}

/// Removes a displaced file if nobody can write to it any more and it is what it was; leaves it
/// otherwise.
fn review(context: &FolderContext, aside: &RelPath) -> Result<(), FsError> {
    let stat = match context.fs.stat(aside) {
        Ok(stat) => stat,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    if stat.is_bundle() && context.environment.now_ns() < stat.ctime_ns.saturating_add(LEFT_NS) {
        return Ok(());
    }
    let absent = match context.fs.writer_absent(aside) {
        Ok(absent) => absent,
        // Where nothing can tell, a writer is assumed: the file costs space, never a byte.
        Err(error) if error.is_unsupported() => false,
        Err(FsError::Denied { .. }) => false,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    if !absent {
        return Ok(());
    }
    let stat = context.fs.stat(aside)?;
    let unchanged =
        aside.name().and_then(Expected::of).is_some_and(|expected| expected.is_still(&stat));
    if unchanged { discard(context, aside) } else { Ok(()) }
}

/// Reviews every displaced file. One that was written to after it was displaced comes back into the
/// folder: beside where its entry is now, or at the top. A device that has lost its database waits
/// for the server's tree with that: it says what the entry is called.
///
/// # Errors
/// [`super::ApplyError`].
pub fn review_displaced(context: &FolderContext) -> Result<u64, super::ApplyError> {
    let listing = match context.fs.list(&RelPath::area_root(Area::Displaced)) {
        Ok(listing) => listing,
        Err(error) if error.is_not_found() => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let knows_entries = context.state.cursor()?.is_some();
    let mut left = 0;
    for listed in listing.entries {
        let Ok(name) = Name::from_bytes(&listed.name) else { continue };
        let aside = RelPath::inside(Area::Displaced, name.clone());
        let stat = match review(context, &aside).and_then(|()| context.fs.stat(&aside)) {
            Ok(stat) => stat,
            Err(error) if error.is_not_found() => continue,
            Err(error) => {
                tracing::warn!(%error, "a displaced file cannot be reviewed for now");
                left += 1;
                continue;
            }
        };
        let Some(expected) = Expected::of(&name) else { continue };
        let (entry, changed) = (expected.entry, !expected.is_still(&stat));
        if changed && !knows_entries {
            left += 1;
            continue;
        }
        if changed && is_ours(context, &entry, &aside, &stat)? {
            // A crash came before the exchange: what lies here is the server's version still.
            if let Err(error) = discard(context, &aside) {
                tracing::warn!(%error, "what is not needed any more cannot be removed for now");
                left += 1;
            }
            continue;
        }
        // A changed file comes back at once when its writer is gone, which `review` has proven by
        // not removing it although nobody holds it.
        if changed && context.fs.writer_absent(&aside).unwrap_or(false) {
            let beside = home_of(context, &entry)?;
            if let Err(error) = keep_beside(context, &aside, &beside) {
                tracing::warn!(%error, "a displaced file cannot come back for now");
                left += 1;
            }
        } else {
            left += 1;
        }
    }
    Ok(left)
}

/// Whether a file is the server's current version of an entry, by size and mtime in nanoseconds. The
/// mtime of a bundle is that of one file in it, so that its bytes are compared too.
fn is_ours(
    context: &FolderContext,
    entry: &EntryId,
    path: &RelPath,
    stat: &Stat,
) -> Result<bool, StateError> {
    let Some(row) = context.state.remote_row(entry)? else { return Ok(false) };
    let content = &row.node.content;
    if (row.size, content.mtime_ns) != (stat.size, stat.mtime_ns) {
        return Ok(false);
    }
    let is_equal =
        || crate::transfer::content_tag(context, path).is_ok_and(|tag| tag == content.tag);
    Ok(!stat.is_bundle() || is_equal())
}

pub(super) fn home_of(context: &FolderContext, entry: &EntryId) -> Result<RelPath, StateError> {
    let names = match context.state.local_path(entry)? {
        Some(names) => Some(names),
        None => context.state.remote_path(entry)?,
    };
    let path = names.and_then(|names| RelPath::new(names).ok()).filter(|path| !path.is_root());
    let parent_is_there = path.as_ref().and_then(RelPath::parent).is_some_and(|parent| {
        context.fs.stat(&parent).is_ok_and(|stat| stat.kind == crate::fs::Kind::Directory)
    });
    Ok(match path {
        Some(path) if parent_is_there => path,
        other => {
            let name = other.and_then(|path| path.name().cloned());
            let name = name.unwrap_or_else(|| context.fresh_name());
            RelPath::inside(Area::Tree, name)
        }
    })
}

/// Puts a file back where it was taken from, or beside what has taken its place meanwhile.
pub(super) fn put_back(
    context: &FolderContext,
    aside: &RelPath,
    path: &RelPath,
) -> Result<(), FsError> {
    match context.fs.rename_noreplace(aside, path) {
        Err(FsError::Exists { .. }) => keep_beside(context, aside, path),
        other => other,
    }
}

/// Keeps a file that a user wrote under a free name beside another; the scanner finds it there.
pub(super) fn keep_beside(
    context: &FolderContext,
    from: &RelPath,
    beside: &RelPath,
) -> Result<(), FsError> {
    let parent = beside.parent().unwrap_or_else(RelPath::root);
    let name = beside.name().cloned().unwrap_or_else(|| context.fresh_name());
    let mut number = 1;
    loop {
        let path = match parent.join(&kept_name(&name, number)) {
            Ok(path) => path,
            // Too long a path: nearer the top there is room.
            Err(_) => RelPath::inside(Area::Tree, kept_name(&name, number)),
        };
        match context.fs.rename_noreplace(from, &path) {
            // When no name is free it stays where it is, safe, and is reviewed again.
            Err(FsError::Exists { .. }) if number < NUMBER_MAX => number += 1,
            other => return other,
        }
    }
}

/// Removes staged files that no cut download goes on in, and forgets downloads that are not wanted
/// any more or whose file is gone. Only when nothing is being staged.
///
/// # Errors
/// [`super::ApplyError`].
pub fn sweep_staging(context: &FolderContext) -> Result<(), super::ApplyError> {
    let entries = match context.fs.list(&RelPath::area_root(Area::Staging)) {
        Ok(listing) => listing.entries,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut staged: BTreeSet<Name> =
        entries.iter().filter_map(|listed| Name::from_bytes(&listed.name).ok()).collect();
    super::placed::rescue(context, &mut staged)?;
    let mut kept = BTreeSet::new();
    for (entry, name) in context.state.partials()? {
        if staged.contains(&name) && is_wanted(context, &entry)? {
            kept.insert(name);
        } else {
            context.state.forget_partial(&entry)?;
        }
    }
    for name in staged.difference(&kept) {
        // One that cannot be removed must not keep the rest: it is tried again.
        if let Err(error) = context.fs.remove(&RelPath::inside(Area::Staging, name.clone())) {
            tracing::warn!(%error, "what was staged cannot be removed for now");
        }
    }
    Ok(())
}

/// Whether the server has a version of a file that is to be on this disk and is not.
fn is_wanted(context: &FolderContext, entry: &EntryId) -> Result<bool, StateError> {
    let Some(remote) = context.state.remote_row(entry)? else { return Ok(false) };
    let local = context.state.local_row(entry)?;
    let is_here = local.is_some_and(|row| row.tag == Some(remote.node.content.tag));
    let is_shown = !remote.node.deleted && remote.broken.is_none();
    Ok(is_shown && remote.node.kind == Kind::File && !is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displaced_file_is_what_it_was_by_either_look_that_its_name_has() {
        let look = |size, mtime_ns| Stat {
            kind: crate::fs::Kind::File,
            size,
            mtime_ns,
            ctime_ns: 0,
            inode: 0x77,
            device: 1,
            mode: 0o644,
            nlink: 1,
            birth_ns: None,
        };
        let still = |name: String, stat: Stat| {
            Expected::of(&Name::new(name).unwrap()).is_some_and(|expected| expected.is_still(&stat))
        };
        let entry = EntryId::from_bytes([7; 16]);
        let name = || format!("{entry}.4096.-5.8192-6.fresh");
        for (stat, is_it) in [
            (look(4096, -5), true),
            (look(8192, 6), true),
            (look(4096, 6), false),
            (look(8192, -5), false),
        ] {
            assert_eq!(still(name(), stat), is_it, "{stat:?}");
        }
        // Of a bundle all of it counts.
        let bundle = Stat { mode: 0o755 | common::archive::MODE_BUNDLE, ..look(10, 3) };
        assert!(still(format!("{entry}.10.3.77.fresh"), bundle));
        assert!(!still(format!("{entry}.10.3.78.fresh"), bundle));
        assert!(!still(name(), Stat { size: 8192, mtime_ns: 6, ..bundle }));
    }
}
