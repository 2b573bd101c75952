//! A synced directory as it is on a disk, to compare with another.
//!
//! Holds what sync promises to carry: kinds, bytes (as BLAKE3 hashes), permission bits, modification
//! times to the nanosecond, targets of links. Not the modification times of directories.

use super::git_ok;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where a device keeps its own things inside a root.
const OWN: &str = ".driftless";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File {
        /// How many.
        bytes: u64,
        /// Their hash.
        hash: blake3::Hash,
    },
    /// A link to this target.
    Symlink {
        /// The target as written.
        target: Vec<u8>,
    },
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// The nine permission bits; 0 for links, which have none of their own.
    pub mode: u32,
    /// Nanoseconds since 1970; 0 for directories.
    pub mtime_ns: i128,
}

/// A directory's entries by relative path; names that are no UTF-8 are shown as near as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Reads a directory.
    ///
    /// # Errors
    /// If something in it cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        collect(root, "", &mut nodes)?;
        Ok(Self(nodes))
    }

    /// As [`Tree::read`], but of the index of a git repository its length and what is staged in it, and no
    /// time: what else it says is of one disk alone.
    ///
    /// # Errors
    /// As [`Tree::read`], and if git cannot read an index.
    pub fn read_as_git(root: &Path) -> Result<Self> {
        let Self(mut nodes) = Self::read(root)?;
        let repository = |path: &String| {
            let above = path.strip_suffix("index")?;
            let is_there = |name: &&str| nodes.contains_key(&format!("{above}{name}"));
            ["HEAD", "objects", "refs"].iter().all(is_there).then(|| root.join(above))
        };
        let indexes = nodes.keys().filter_map(|path| Some((path.clone(), repository(path)?)));
        for (path, at) in indexes.collect::<Vec<_>>() {
            let staged = git_ok(&at, &["--git-dir=.", "ls-files", "--stage"])?;
            if let Some(Node { kind: NodeKind::File { hash, .. }, mtime_ns, .. }) =
                nodes.get_mut(&path)
            {
                (*hash, *mtime_ns) = (blake3::hash(staged.as_bytes()), 0);
            }
        }
        Ok(Self(nodes))
    }

    /// Entries by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// How many files, directories and links there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&NodeKind) -> bool| {
            self.0.values().filter(|node| wanted(&node.kind)).count()
        };
        (
            count(|kind| matches!(kind, NodeKind::File { .. })),
            count(|kind| matches!(kind, NodeKind::Directory)),
            count(|kind| matches!(kind, NodeKind::Symlink { .. })),
        )
    }

    /// What differs, a line each; empty for equal trees. At most 20 lines.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, node) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("{path}: only on the first side: {node:?}")),
                Some(their) if their != node => lines.push(format!("{path}: {node:?} / {their:?}")),
                Some(_) => {}
            }
        }
        let only_other = other.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(only_other.map(|path| format!("{path}: only on the second side")));
        lines.truncate(20);
        lines
    }
}

fn collect(directory: &Path, prefix: &str, nodes: &mut BTreeMap<String, Node>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if prefix.is_empty() && name.as_bytes() == OWN.as_bytes() {
            continue;
        }
        let path = entry.path();
        let relative = format!("{prefix}{}", name.to_string_lossy());
        let metadata = fs::symlink_metadata(&path)?;
        let mtime_ns =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let mode = metadata.mode() & 0o777;
        let node = if metadata.is_dir() {
            collect(&path, &format!("{relative}/"), nodes)?;
            Node { kind: NodeKind::Directory, mode, mtime_ns: 0 }
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path)?.as_os_str().as_bytes().to_vec();
            Node { kind: NodeKind::Symlink { target }, mode: 0, mtime_ns }
        } else {
            let mut hasher = blake3::Hasher::new();
            let bytes = std::io::copy(&mut fs::File::open(&path)?, &mut hasher)?;
            Node { kind: NodeKind::File { bytes, hash: hasher.finalize() }, mode, mtime_ns }
        };
        nodes.insert(relative, node);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_index_a_tree_sees_what_is_staged() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git_ok(root, &["init", "--quiet"]).unwrap();
        fs::write(root.join("a"), "a").unwrap();
        git_ok(root, &["add", "a"]).unwrap();
        let git = root.join(".git");
        let before = Tree::read_as_git(&git).unwrap();
        // What `git status` writes down of this disk.
        let file = fs::File::options().write(true).open(root.join("a")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let of_disk = fs::read(git.join("index")).unwrap();
        git_ok(root, &["status"]).unwrap();
        assert_ne!(fs::read(git.join("index")).unwrap(), of_disk);
        assert_eq!(Tree::read_as_git(&git).unwrap(), before);
        for torn in [&of_disk[..0], &of_disk[..of_disk.len() / 2]] {
            fs::write(git.join("index"), torn).unwrap();
            assert!(Tree::read_as_git(&git).map_or(true, |torn| torn != before));
        }
        fs::remove_file(git.join("index")).unwrap();
        assert_eq!(before.differences(&Tree::read_as_git(&git).unwrap()).len(), 1, "missing");
        fs::write(git.join("index"), of_disk).unwrap();
        git_ok(root, &["update-index", "--chmod=+x", "a"]).unwrap();
        let changed = before.differences(&Tree::read_as_git(&git).unwrap());
        assert!(changed[0].starts_with("index: "), "what is staged: {changed:?}");
    }

    #[test]
    fn a_tree_sees_bytes_modes_times_links_and_missing_entries() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/a"), "1").unwrap();
        std::os::unix::fs::symlink("d/a", root.join("l")).unwrap();
        fs::create_dir(root.join(OWN)).unwrap();
        let before = Tree::read(root).unwrap();
        assert_eq!(before.counts(), (1, 1, 1));
        let mtime = fs::metadata(root.join("d/a")).unwrap().modified().unwrap();
        let touch = |path: &str| {
            let file = fs::File::options().write(true).open(root.join(path)).unwrap();
            file.set_modified(mtime).unwrap();
        };
        let changed = |what: &str| {
            let differences = before.differences(&Tree::read(root).unwrap());
            assert_eq!(differences.len(), 1, "{what}: {differences:?}");
        };
        fs::write(root.join("d/a"), "2").unwrap();
        touch("d/a");
        changed("bytes");
        fs::write(root.join("d/a"), "1").unwrap();
        changed("time");
        touch("d/a");
        assert_eq!(before, Tree::read(root).unwrap());
        fs::write(root.join("b"), "").unwrap();
        changed("a new file");
    }
}
