//! A folder as it was at a revision.
//!
//! Owns how that is put together: what this device knows of the folder now, and over it what the
//! server says was another then. While the server reads on, what is here is read and opened.

use super::lookup::names_of;
use super::pages::{PAGES_MAX, endless};
use super::{AskError, Engine, unreadable};
use crate::engine::handle::{Instant, ListInfo, ListedEntry, Listing};
use crate::engine::run::Halted;
use crate::pull::{row_of, set_content, set_place};
use crate::state::RemoteRow;
use client_core::past::{Item, Shown, Tree};
use common::ids::EntryId;
use common::name::Name;
use common::record::{Earlier, EarlierMessage, Kind, Registers, Was};
use common::revision::Revision;
use common::wire::meta::{PastPart, PastRead, Reply, Request};
use std::collections::{BTreeMap, HashSet};

/// Rows that are read at a time, about while a server reads one answer: then that is taken up.
const ROWS_TOGETHER: usize = 32 * 1024;

/// Rows by entry. They are long, so that a map of themselves would be slow to search.
pub(super) type Rows = BTreeMap<EntryId, Box<RemoteRow>>;

/// A folder at one moment: its tree, and what its entries held.
#[derive(Clone, Default)]
pub(super) struct Past {
    pub(super) tree: Tree,
    pub(super) rows: Rows,
}

impl Past {
    /// What cannot be read is not shown.
    fn new(mut rows: Rows) -> Self {
        rows.retain(|_, row| row.issue().is_none());
        Self { tree: rows.iter().map(|(entry, row)| (*entry, item(row))).collect(), rows }
    }
}

pub(super) fn item(row: &RemoteRow) -> Item {
    let node = &row.node;
    Item { position: node.position.clone(), kind: node.kind, content: node.content, size: row.size }
}

/// What this device knows of the folder, as far as it has been read, and how far it was taken back.
#[derive(Default)]
struct Own {
    rows: Rows,
    /// Whether all of it has been read.
    whole: bool,
    /// Entries that the server has told of.
    told: HashSet<EntryId>,
}

impl Engine {
    /// The folder as this device has last heard of it.
    pub(super) fn now(&self) -> Result<Past, AskError> {
        let mut own = Own::default();
        while !own.whole {
            self.read_on(&mut own)?;
        }
        Ok(Past::new(own.rows))
    }

    fn read_on(&self, own: &mut Own) -> Result<(), AskError> {
        let after = own.rows.last_key_value().map(|(entry, _)| entry);
        let read = self.context.state.remote_rows_live(after, ROWS_TOGETHER)?;
        own.whole = read.len() < ROWS_TOGETHER;
        own.rows.extend(read);
        Ok(())
    }

    /// What stands along a path now, and nothing else of the folder.
    pub(super) fn now_along(&self, names: &[Name]) -> Result<Past, AskError> {
        let rows = self.context.state.remote_rows_along(names)?;
        Ok(Past::new(rows.into_iter().map(|row| (row.node.entry, Box::new(row))).collect()))
    }

    /// The folder as it was.
    pub(super) async fn past(&self, at: Revision) -> Result<Past, AskError> {
        if let Some(Halted::Rollback { .. }) = &self.halted {
            let text = "the server was restored from a backup, and what it has now is read after \
                        `driftless confirm`";
            return Err(AskError::Refused(text.to_owned()));
        }
        let known = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        if known < at {
            return Err(AskError::NotHeardYet { revision: at, heard: known });
        }
        let mut own = Own::default();
        let mut next = (known > at).then(Vec::new);
        let (mut pages, mut count): (Vec<PastPart>, usize) = (Vec::new(), 0);
        while next.is_some() || !own.whole || !pages.is_empty() {
            let ask = async {
                let Some(after) = next.take() else { return Ok(Vec::new()) };
                let folder = self.context.folder.to_vec();
                let request = PastRead { folder, at, known, after };
                self.context.remote.request(Request::Past(request)).await
            };
            let meanwhile = async {
                if !own.whole {
                    return self.read_on(&mut own);
                }
                let mut entries = pages.drain(..).flat_map(|page| page.entries);
                entries.try_for_each(|message| self.take_back(&mut own, message))
            };
            // The request goes out before anything else is done.
            let (replies, done) = futures_util::future::join(ask, meanwhile).await;
            done?;
            for reply in replies? {
                let Reply::Past(part) = reply else { return Err(unreadable("it is no past")) };
                next = (!part.next.is_empty()).then(|| part.next.clone());
                pages.push(part);
                count += 1;
            }
            if count > PAGES_MAX {
                return Err(endless());
            }
        }
        let is_later =
            |row: &RemoteRow| row.node.place_revision > at || row.node.content_revision > at;
        if own.rows.values().any(|row| is_later(row)) {
            return Err(unreadable("it leaves out what an entry was"));
        }
        Ok(Past::new(own.rows))
    }

    /// Makes an entry what it was. Of a register that is not told, this device has the one that it was.
    fn take_back(&self, own: &mut Own, message: EarlierMessage) -> Result<(), AskError> {
        let rows = &mut own.rows;
        let Earlier { entry, was } =
            Earlier::try_from(message).map_err(|error| unreadable(&error.to_string()))?;
        if !own.told.insert(entry) {
            return Err(unreadable("it tells an entry twice"));
        }
        let Some(Was { kind, place, content }) = was else {
            rows.remove(&entry);
            return Ok(());
        };
        let Some(row) = rows.get_mut(&entry) else {
            let (Some((place_revision, place)), Some((content_revision, content))) =
                (place, content)
            else {
                return Err(unreadable("it tells a part of an entry that is not there"));
            };
            let registers =
                Registers { entry, kind, place_revision, place, content_revision, content };
            rows.insert(entry, Box::new(row_of(&self.context, &registers)));
            return Ok(());
        };
        if row.node.kind != kind {
            return Err(unreadable("an entry was of another kind"));
        }
        if let Some((revision, place)) = place {
            set_place(&self.context, row, revision, &place);
        }
        if let Some((revision, content)) = content {
            set_content(&self.context, row, revision, &content);
        }
        Ok(())
    }

    /// What is there, as this device has last heard.
    fn list(&self, path: &str) -> Result<Vec<ListedEntry>, AskError> {
        let missing = || AskError::NoSuchPath(path.to_owned());
        let entry = self.entry_at(path)?.ok_or_else(missing)?;
        let clean: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut listed = Vec::new();
        if entry != EntryId::ROOT {
            let row = self.context.state.remote_row(&entry)?.ok_or_else(missing)?;
            if row.node.kind != Kind::Directory {
                listed.push(listed_entry(clean.join("/"), &row));
                return Ok(listed);
            }
        }
        let mut queue = vec![(entry, clean.join("/"))];
        while let Some((directory, prefix)) = queue.pop() {
            for row in self.context.state.remote_rows_in(&directory)? {
                if row.broken.is_some() {
                    continue;
                }
                let name = row.node.position.name.as_str();
                let path =
                    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
                if row.node.kind == Kind::Directory {
                    queue.push((row.node.entry, path.clone()));
                }
                listed.push(listed_entry(path, &row));
            }
        }
        listed.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(listed)
    }

    /// What `ls` shows.
    pub(in crate::engine) async fn listing(
        &self,
        path: &str,
        what: Listing,
    ) -> Result<ListInfo, AskError> {
        match self.listing_of_entry(path, what).await {
            Err(error) => Err(self.in_bundle_or(path, error).await?),
            listed => listed,
        }
    }

    async fn listing_of_entry(&self, path: &str, what: Listing) -> Result<ListInfo, AskError> {
        match what {
            Listing::Now => Ok(ListInfo { entries: self.list(path)?, at: None }),
            Listing::Deleted => Ok(ListInfo { entries: self.deleted(path).await?, at: None }),
            Listing::At(moment) => {
                let at = self.instant(moment).await?;
                let past = self.past(at.revision).await?;
                let (entry, shown) = past_entry(&past, path, at)?;
                let mut entries = Vec::new();
                let mut show = |entry: &EntryId, path: String| {
                    entries.extend(past.rows.get(entry).map(|row| listed_entry(path, row)));
                };
                if past.tree.get(&entry).is_some_and(|item| item.kind != Kind::Directory) {
                    show(&entry, shown);
                } else {
                    past.tree.walk(&entry, &shown, show);
                }
                entries.sort_by(|one, two| one.path.cmp(&two.path));
                Ok(ListInfo { entries, at: Some(at) })
            }
        }
    }
}

/// What was at a path, and the path as it is shown.
fn past_entry(past: &Past, path: &str, at: Instant) -> Result<(EntryId, String), AskError> {
    let names = names_of(path)?;
    let shown = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join("/");
    let entry = past.tree.at(&names);
    let entry = entry.ok_or(AskError::NotThere { path: path.to_owned(), revision: at.revision })?;
    Ok((entry, shown))
}

/// A row of a tree as `ls` shows it.
pub(in crate::engine) fn listed_entry(path: String, row: &RemoteRow) -> ListedEntry {
    ListedEntry {
        path,
        kind: Shown::of(row.node.kind, row.node.content.mode),
        size: row.size,
        mtime_ns: row.node.content.mtime_ns,
        revision: row.node.place_revision.max(row.node.content_revision),
        deleted_ms: None,
    }
}
