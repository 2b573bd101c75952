//! Bundles, as the book of values sees them: one value each, the archive of all that is in it.
//!
//! Owns that view. A device that shows half of one version and half of another shows an archive that
//! nobody ever had (S8), and one that loses a file in a bundle loses the bundle's value (S1).

use super::writer::{Tree, rel_path};
use client::fs::memory::user::{MemoryUser, UserEntry};
use client_core::bundles::BundleRules;
use common::archive::{FOOTER_BYTES, Index, Item, ItemKind, MAGIC, MODE_BUNDLE};
use std::collections::BTreeSet;

/// The tree as the user sees it, with every bundle as the file that its archive is.
#[must_use]
pub fn shown(user: &MemoryUser) -> Tree {
    let rules = BundleRules::default();
    let is_root = |path: &str| {
        rel_path(path).is_some_and(|it| rules.root_of(it.names()) == Some(it.names().len()))
    };
    folded(user, user.tree(), "", is_root)
}

/// What is in `.driftless`, in the same way.
#[must_use]
pub fn shown_private(user: &MemoryUser) -> Tree {
    // What is staged or was displaced is a bundle if it is a directory.
    let is_root = |path: &str| {
        let area = path.split_once('/').filter(|(_, name)| !name.contains('/'));
        area.is_some_and(|(area, name)| match area {
            "staging" | "displaced" => true,
            _ => name.ends_with(".bundle"),
        })
    };
    folded(user, user.private_tree(), ".driftless/", is_root)
}

fn folded(user: &MemoryUser, tree: Tree, prefix: &str, is_root: impl Fn(&str) -> bool) -> Tree {
    let mut tree = tree;
    let roots: Vec<(String, u16)> = tree
        .iter()
        .filter_map(|(path, entry)| match entry {
            UserEntry::Directory(mode) if is_root(path) => Some((path.clone(), *mode)),
            _ => None,
        })
        .collect();
    for (root, mode) in roots {
        let archive = archive(user, &tree, &root, prefix);
        let below = format!("{root}/");
        tree.retain(|path, _| !path.starts_with(&below));
        tree.insert(root, UserEntry::File(archive, mode | MODE_BUNDLE));
    }
    tree
}

fn archive(user: &MemoryUser, tree: &Tree, root: &str, prefix: &str) -> Vec<u8> {
    let below = format!("{root}/");
    let inside = tree.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&below)?, entry)));
    let items = inside.map(|(path, entry)| {
        let mtime_ns = user.stat(format!("{prefix}{root}/{path}")).map_or(0, |stat| stat.mtime_ns);
        let (kind, mode, mtime_ns) = match entry {
            UserEntry::File(bytes, mode) => (ItemKind::File(bytes.len() as u64), *mode, mtime_ns),
            UserEntry::Symlink(target) => (ItemKind::Symlink(target.clone()), 0, mtime_ns),
            UserEntry::Directory(mode) => (ItemKind::Directory, *mode, 0),
            UserEntry::Other => panic!("{root} has a special file in it"),
        };
        Item { path: path.to_owned(), kind, mode, mtime_ns }
    });
    let index = Index::new(items.collect()).unwrap();
    let mut bytes = Vec::new();
    for item in index.items() {
        if let Some(UserEntry::File(content, _)) = tree.get(&format!("{root}/{}", item.path)) {
            bytes.extend_from_slice(content);
        }
    }
    bytes.extend(index.encode());
    bytes
}

/// A thing in an archive as it is listed, and the bytes of a file.
pub type Part = (String, Vec<u8>);
/// What is in an archive.
pub type Parts = BTreeSet<Part>;

/// What is in an archive.
#[must_use]
pub fn parts(archive: &[u8]) -> Option<Parts> {
    let footer = archive.last_chunk::<FOOTER_BYTES>()?;
    let (start, length) = Index::locate(*footer, archive.len() as u64).ok()?;
    let [start, length] = [start, length].map(|it| usize::try_from(it).unwrap());
    let index = Index::decode(&archive[start..start + length], start as u64).ok()?;
    let mut rest = archive;
    let parts = index.items().iter().map(|item| {
        let size = if let ItemKind::File(size) = item.kind { size as usize } else { 0 };
        let (bytes, left) = rest.split_at(size);
        rest = left;
        (format!("{item:?}"), bytes.to_vec())
    });
    Some(parts.collect())
}

/// Whether these bytes are the archive of a bundle with no content in it: like an empty file it is
/// nobody's value, and what a power cut leaves of any bundle.
#[must_use]
pub fn is_hollow(bytes: &[u8]) -> bool {
    let footer = bytes.last_chunk::<FOOTER_BYTES>().filter(|_| is_archive(bytes));
    let located = footer.and_then(|footer| Index::locate(*footer, bytes.len() as u64).ok());
    located.is_some_and(|(content_bytes, _)| content_bytes == 0)
}

/// Whether these bytes are a bundle's archive.
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.ends_with(&MAGIC)
}
