//! A folder as it was at a revision.
//!
//! Owns how that is put together: what this device knows of the folder now, and over it what the
//! server says was another then. A page is opened while the server reads the next one.

use super::lookup::names_of;
use super::{AskError, Engine, unreadable};
use crate::engine::handle::{Instant, ListInfo, ListedEntry, Listing};
use crate::pull::row_of;
use crate::state::RemoteRow;
use client_core::past::{Item, Listed, Shown, Tree};
use client_core::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::{PastPart, PastRead, Reply, Request};
use std::collections::BTreeMap;

/// A folder at one moment: its tree, and what its entries held.
#[derive(Clone, Default)]
pub(super) struct Past {
    pub(super) tree: Tree,
    pub(super) rows: BTreeMap<EntryId, RemoteRow>,
}

impl Past {
    /// Puts a row in, or takes the entry out. What cannot be read is not shown.
    pub(super) fn set(&mut self, entry: EntryId, row: Option<RemoteRow>) {
        self.tree.remove(&entry);
        self.rows.remove(&entry);
        if let Some(row) = row.filter(|row| row.issue().is_none()) {
            self.tree.put(entry, item(&row));
            self.rows.insert(entry, row);
        }
    }
}

fn item(row: &RemoteRow) -> Item {
    let node = &row.node;
    Item { position: node.position.clone(), kind: node.kind, content: node.content, size: row.size }
}

impl Engine {
    /// The folder as this device has last heard of it.
    pub(super) fn now(&self) -> Result<Past, AskError> {
        let mut now = Past::default();
        for row in self.context.state.remote_rows_live()? {
            now.set(row.node.entry, Some(row));
        }
        Ok(now)
    }

    /// What stands along a path now, and nothing else of the folder.
    pub(super) fn now_along(&self, names: &[Name]) -> Result<Past, AskError> {
        let (mut now, mut parent) = (Past::default(), EntryId::ROOT);
        for name in names {
            let position = Position { parent, name: name.clone() };
            let Some(row) = self.context.state.remote_row_at(&position)? else { break };
            parent = row.node.entry;
            now.set(parent, Some(row));
        }
        Ok(now)
    }

    /// The folder as it was.
    pub(super) async fn past(&self, at: Revision) -> Result<Past, AskError> {
        let known = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        if known < at {
            return Err(AskError::NotHeardYet { revision: at, heard: known });
        }
        let mut past = self.now()?;
        let mut next = (known > at).then(Vec::new);
        let mut page: Option<PastPart> = None;
        while next.is_some() || page.is_some() {
            let ask = async {
                match next.take() {
                    None => Ok(None),
                    Some(after) => {
                        let folder = self.context.folder.to_vec();
                        let request = PastRead { folder, at, known, after };
                        self.answer_to(Request::Past(request)).await.map(Some)
                    }
                }
            };
            let open = async { page.take().map(|page| self.open_page(&mut past, page)) };
            // The request goes out before the page is opened.
            let (reply, opened) = futures_util::future::join(ask, open).await;
            opened.transpose()?;
            match reply? {
                None => {}
                Some(Reply::Past(part)) => {
                    next = (!part.next.is_empty()).then(|| part.next.clone());
                    page = Some(part);
                }
                Some(_) => return Err(unreadable("it is no past")),
            }
        }
        Ok(past)
    }

    fn open_page(&self, past: &mut Past, page: PastPart) -> Result<(), AskError> {
        for was in page.entries {
            let entry = EntryId::from_slice(&was.entry);
            let entry = entry.map_err(|_| unreadable("an entry id has another length"))?;
            let registers = was.registers.map(Registers::try_from).transpose();
            let registers = registers.map_err(|error| unreadable(&error.to_string()))?;
            if registers.as_ref().is_some_and(|it| it.entry != entry) {
                return Err(unreadable("an entry has another's registers"));
            }
            past.set(entry, registers.map(|registers| row_of(&self.context, &registers)));
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
                let mut listed = past.tree.list(&entry, &shown);
                if let Some(item) = past.tree.get(&entry).filter(|it| it.kind != Kind::Directory) {
                    listed = vec![Listed { entry, path: shown, item: item.clone() }];
                }
                let entries = listed.into_iter().filter_map(|it| {
                    let row = past.rows.get(&it.entry)?;
                    Some(listed_entry(it.path, row))
                });
                Ok(ListInfo { entries: entries.collect(), at: Some(at) })
            }
        }
    }
}

/// What was at a path, and the path as it is shown.
pub(super) fn past_entry(
    past: &Past,
    path: &str,
    at: Instant,
) -> Result<(EntryId, String), AskError> {
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
