//! The archive of a bundle: a directory that only makes sense whole, as the bytes of one file.
//!
//! Owns the format (version 1) and every check of an archive that another device made. It must not
//! know how a directory is read or made.
//!
//! An archive is the contents of all files one after another, the index, and a footer of
//! [`FOOTER_BYTES`] bytes: the index's length (8 bytes, little endian) and [`MAGIC`]. Files lie in the
//! order of their mtimes, those of one mtime in that of their paths: what a program adds to a
//! directory comes at the end, so that what was there before keeps its bytes and its chunks. One
//! directory has one archive.

use crate::limits::{
    BUNDLE_INDEX_BYTES_MAX, BUNDLE_ITEMS_MAX, DEPTH_MAX, FILE_BYTES_MAX, PATH_BYTES_MAX,
    SYMLINK_BYTES_MAX,
};
use crate::name::Name;
use prost::Message;
use std::collections::BTreeSet;

/// The byte before each thing of an index: field 1 of a message, with a length.
const ITEM_KEY: u8 = 0x0a;
/// Length of the footer in bytes.
pub const FOOTER_BYTES: usize = 16;
/// The last bytes of every archive; the last one is the version.
pub const MAGIC: [u8; 8] = *b"DLBUNDL\x01";

/// The bit of a mode that says: the bytes are the archive of a directory, and the other bits are the
/// directory's. Only files have it.
pub const MODE_BUNDLE: u16 = 0o1000;

/// Whether a mode is that of a bundle.
#[must_use]
pub fn is_bundle(mode: u16) -> bool {
    mode & MODE_BUNDLE != 0
}

/// Why bytes are no archive, or a directory can have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The footer is missing or of an unknown version.
    #[error("it has no footer of an archive that this version knows")]
    Footer,
    /// The index does not decode.
    #[error("its index does not decode")]
    Index,
    /// Lengths do not add up.
    #[error("its lengths do not add up")]
    Lengths,
    /// A path that no directory can hold, or that lies in none that is listed before it.
    #[error("it lists a path that cannot be: {0:?}")]
    Path(String),
    /// A link or a mode that cannot be.
    #[error("it lists something that cannot be at {0:?}")]
    Attributes(String),
    /// Not in the one order.
    #[error("its index is not in order")]
    Order,
    /// More than an archive may hold.
    #[error("it holds more than {BUNDLE_ITEMS_MAX} things, or their paths are too long together")]
    TooLarge,
}

/// What one thing in a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A directory.
    Directory,
    /// A symlink, with its target.
    Symlink(Vec<u8>),
    /// A file, with its length in bytes.
    File(u64),
}

/// One thing in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its path from the bundle's own directory, names joined by `/`.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// The nine permission bits; 0 of a symlink.
    pub mode: u16,
    /// Modification time in ns since 1970; 0 of a directory.
    pub mtime_ns: i64,
}

/// What lies in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    items: Vec<Item>,
}

/// An index is these one after another, as a message whose field 1 they are would be.
#[derive(Clone, PartialEq, Message)]
struct ItemMessage {
    #[prost(string, tag = "1")]
    path: String,
    /// 1 directory, 2 symlink, 3 file.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    mode: u32,
    #[prost(sint64, tag = "4")]
    mtime_ns: i64,
    #[prost(uint64, tag = "5")]
    size: u64,
    #[prost(bytes = "vec", tag = "6")]
    target: Vec<u8>,
}

impl Index {
    /// The index of these things, in order.
    ///
    /// # Errors
    /// [`ArchiveError`] when no archive can hold them.
    pub fn new(mut items: Vec<Item>) -> Result<Self, ArchiveError> {
        items.sort_by(|one, two| order(one).cmp(&order(two)));
        let index = Self { items };
        index.check()?;
        Ok(index)
    }

    /// Directories and links by path, a directory before what it holds; then files in the order of
    /// their contents.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Bytes of all contents together.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        let sizes = self.items.iter().map(|item| match item.kind {
            ItemKind::File(size) => size,
            ItemKind::Directory | ItemKind::Symlink(_) => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// Index and footer, as they follow the contents.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for item in &self.items {
            bytes.push(ITEM_KEY);
            bytes.extend(message(item).encode_length_delimited_to_vec());
        }
        let length = bytes.len() as u64;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// How many bytes [`Index::encode`] gives.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        let lengths = self.items.iter().map(|item| {
            let length = message(item).encoded_len();
            (1 + prost::length_delimiter_len(length) + length) as u64
        });
        lengths.fold(FOOTER_BYTES as u64, u64::saturating_add)
    }

    /// Where the index of an archive of `total` bytes begins, and its length, by its last
    /// [`FOOTER_BYTES`] bytes.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn locate(footer: [u8; FOOTER_BYTES], total: u64) -> Result<(u64, u64), ArchiveError> {
        let (length, magic) = footer.split_at(8);
        if magic != MAGIC {
            return Err(ArchiveError::Footer);
        }
        let length = <[u8; 8]>::try_from(length).map_err(|_| ArchiveError::Footer)?;
        let length = u64::from_le_bytes(length);
        if length > BUNDLE_INDEX_BYTES_MAX {
            return Err(ArchiveError::TooLarge);
        }
        let behind = length.saturating_add(FOOTER_BYTES as u64);
        let start = total.checked_sub(behind).ok_or(ArchiveError::Lengths)?;
        Ok((start, length))
    }

    /// Reads an index that lies behind `content_bytes` bytes of contents.
    ///
    /// # Errors
    /// [`ArchiveError`]: everything that it lists can be made inside one directory otherwise.
    pub fn decode(mut bytes: &[u8], content_bytes: u64) -> Result<Self, ArchiveError> {
        let mut items = Vec::new();
        // One by one: a thing in memory is many times longer than the fewest bytes that make one.
        while let Some((key, rest)) = bytes.split_first() {
            if *key != ITEM_KEY {
                return Err(ArchiveError::Index);
            }
            if items.len() == BUNDLE_ITEMS_MAX {
                return Err(ArchiveError::TooLarge);
            }
            bytes = rest;
            let message = ItemMessage::decode_length_delimited(&mut bytes);
            items.push(item(message.map_err(|_| ArchiveError::Index)?)?);
        }
        let index = Self { items };
        index.check()?;
        if index.content_bytes() != content_bytes {
            return Err(ArchiveError::Lengths);
        }
        Ok(index)
    }

    fn check(&self) -> Result<(), ArchiveError> {
        let index_bytes = self.encoded_len() - FOOTER_BYTES as u64;
        if self.items.len() > BUNDLE_ITEMS_MAX
            || self.content_bytes() > FILE_BYTES_MAX
            || index_bytes > BUNDLE_INDEX_BYTES_MAX
        {
            return Err(ArchiveError::TooLarge);
        }
        let (mut directories, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for item in &self.items {
            let impossible = || ArchiveError::Path(item.path.clone());
            let names: Vec<&str> = item.path.split('/').collect();
            let are_names = names.iter().all(|name| Name::new(*name).is_ok());
            if !are_names || names.len() > DEPTH_MAX || item.path.len() > PATH_BYTES_MAX {
                return Err(impossible());
            }
            let parent = item.path.rsplit_once('/').map(|(parent, _)| parent);
            if parent.is_some_and(|parent| !directories.contains(parent))
                || !seen.insert(item.path.as_str())
            {
                return Err(impossible());
            }
            if item.kind == ItemKind::Directory {
                directories.insert(item.path.as_str());
            }
            if !is_possible(item) {
                return Err(ArchiveError::Attributes(item.path.clone()));
            }
        }
        let is_ordered = self.items.is_sorted_by(|one, two| order(one) <= order(two));
        if is_ordered { Ok(()) } else { Err(ArchiveError::Order) }
    }
}

fn is_possible(item: &Item) -> bool {
    let link = match &item.kind {
        ItemKind::Symlink(target) => {
            item.mode == 0
                && !target.is_empty()
                && target.len() <= SYMLINK_BYTES_MAX
                && !target.contains(&0)
        }
        ItemKind::Directory => item.mtime_ns == 0,
        ItemKind::File(_) => true,
    };
    link && item.mode <= 0o777
}

/// Directories and links first, by path; a directory's own path is a prefix of those in it.
fn order(item: &Item) -> (bool, i64, &str) {
    match item.kind {
        ItemKind::File(_) => (true, item.mtime_ns, &item.path),
        ItemKind::Directory | ItemKind::Symlink(_) => (false, 0, &item.path),
    }
}

fn message(item: &Item) -> ItemMessage {
    let (kind, size, target) = match &item.kind {
        ItemKind::Directory => (1, 0, Vec::new()),
        ItemKind::Symlink(target) => (2, 0, target.clone()),
        ItemKind::File(size) => (3, *size, Vec::new()),
    };
    let (path, mode, mtime_ns) = (item.path.clone(), u32::from(item.mode), item.mtime_ns);
    ItemMessage { path, kind, mode, mtime_ns, size, target }
}

fn item(message: ItemMessage) -> Result<Item, ArchiveError> {
    let ItemMessage { path, kind, mode, mtime_ns, size, target } = message;
    let kind = match kind {
        1 if size == 0 && target.is_empty() => ItemKind::Directory,
        2 if size == 0 => ItemKind::Symlink(target),
        3 if target.is_empty() => ItemKind::File(size),
        _ => return Err(ArchiveError::Attributes(path)),
    };
    let mode = u16::try_from(mode).map_err(|_| ArchiveError::Attributes(path.clone()))?;
    Ok(Item { path, kind, mode, mtime_ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An index as the message that it is.
    #[derive(Clone, PartialEq, Message)]
    struct IndexMessage {
        #[prost(message, repeated, tag = "1")]
        items: Vec<ItemMessage>,
    }

    fn file(path: &str, size: u64, mtime_ns: i64) -> Item {
        Item { path: path.into(), kind: ItemKind::File(size), mode: 0o644, mtime_ns }
    }

    fn directory(path: &str) -> Item {
        Item { path: path.into(), kind: ItemKind::Directory, mode: 0o755, mtime_ns: 0 }
    }

    fn link(path: &str, target: &[u8]) -> Item {
        Item { path: path.into(), kind: ItemKind::Symlink(target.to_vec()), mode: 0, mtime_ns: 5 }
    }

    fn again(index: &Index) -> Result<Index, ArchiveError> {
        let bytes = index.encode();
        let total = index.content_bytes() + bytes.len() as u64;
        let footer = bytes[bytes.len() - FOOTER_BYTES..].try_into().unwrap();
        let (start, length) = Index::locate(footer, total)?;
        assert_eq!(start, index.content_bytes());
        Index::decode(&bytes[..usize::try_from(length).unwrap()], start)
    }

    #[test]
    fn an_index_is_read_as_it_was_written_and_new_files_come_last() {
        let items = vec![file("z", 3, 1), file("a/b", 0, 9), directory("a"), link("a/l", b"../z")];
        let index = Index::new(items).unwrap();
        let paths: Vec<&str> = index.items().iter().map(|item| item.path.as_str()).collect();
        assert_eq!(paths, ["a", "a/l", "z", "a/b"]);
        assert_eq!(again(&index), Ok(index));
        assert_eq!(again(&Index::default()), Ok(Index::default()));
    }

    #[test]
    fn what_no_directory_can_hold_is_refused() {
        for path in ["", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a\0b"] {
            let found = Index::new(vec![directory("a"), file(path, 1, 1)]);
            assert_eq!(found, Err(ArchiveError::Path(path.into())));
        }
        let twice = Index::new(vec![file("a", 1, 1), file("a", 1, 2)]);
        assert_eq!(twice, Err(ArchiveError::Path("a".into())));
        for above in [file("a", 1, 1), link("a", b"/etc")] {
            let through = Index::new(vec![above, file("a/b", 1, 1)]);
            assert_eq!(through, Err(ArchiveError::Path("a/b".into())));
        }
        for target in [&b""[..], b"a\0b", &[b'x'; SYMLINK_BYTES_MAX + 1]] {
            let found = Index::new(vec![link("l", target)]);
            assert_eq!(found, Err(ArchiveError::Attributes("l".into())));
        }
        let setuid = Item { mode: 0o4755, ..file("a", 1, 1) };
        assert_eq!(Index::new(vec![setuid]), Err(ArchiveError::Attributes("a".into())));
        let huge = Index::new(vec![file("a", u64::MAX, 1), file("b", u64::MAX, 1)]);
        assert_eq!(huge, Err(ArchiveError::TooLarge));
    }

    #[test]
    fn an_index_that_is_not_the_archives_is_refused() {
        let unordered = Index { items: vec![file("b", 1, 2), file("a", 1, 1)] };
        assert_eq!(again(&unordered), Err(ArchiveError::Order));
        let bytes = Index::new(vec![file("a", 1, 1)]).unwrap().encode();
        let index = &bytes[..bytes.len() - FOOTER_BYTES];
        assert_eq!(Index::decode(index, 2), Err(ArchiveError::Lengths));
        let footer = |length: u64| {
            let mut footer = [0; FOOTER_BYTES];
            footer[..8].copy_from_slice(&length.to_le_bytes());
            footer[8..].copy_from_slice(&MAGIC);
            footer
        };
        assert_eq!(Index::locate(footer(100), 115), Err(ArchiveError::Lengths));
        assert_eq!(Index::locate(footer(100), 116), Ok((0, 100)));
        assert_eq!(Index::locate(footer(u64::MAX), u64::MAX), Err(ArchiveError::TooLarge));
        assert_eq!(Index::locate([0; FOOTER_BYTES], 116), Err(ArchiveError::Footer));
    }

    #[test]
    fn an_index_is_read_no_further_than_it_can_be_the_archives() {
        // A thing without a kind, and one thing too many; what follows is not looked at.
        let found = Index::decode(&[ITEM_KEY, 0, 0xff], 0);
        assert_eq!(found, Err(ArchiveError::Attributes(String::new())));
        let mut many = [ITEM_KEY, 2, 0x10, 1].repeat(BUNDLE_ITEMS_MAX);
        many.extend([ITEM_KEY, 0xff, 0xff]);
        assert_eq!(Index::decode(&many, 0), Err(ArchiveError::TooLarge));
        assert_eq!(Index::decode(&[0x12, 0], 0), Err(ArchiveError::Index));
    }

    #[test]
    fn an_index_that_no_device_would_read_is_not_made() {
        let target = [b'x'; SYMLINK_BYTES_MAX];
        let count = usize::try_from(BUNDLE_INDEX_BYTES_MAX).unwrap() / SYMLINK_BYTES_MAX;
        let links: Vec<Item> =
            (0..count).map(|number| link(&number.to_string(), &target)).collect();
        assert_eq!(Index::new(links), Err(ArchiveError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, total: u64) {
            if let Ok(index) = Index::decode(&bytes, total) {
                prop_assert_eq!(index.content_bytes(), total);
            }
        }

        #[test]
        fn any_things_are_read_again_or_refused(
            things in prop::collection::vec(("[a-c](/[a-c]){0,2}", 0..3u8, 0..5u64, -3..3i64), 0..12)
        ) {
            let items = things.into_iter().map(|(path, kind, size, mtime)| match kind {
                0 => directory(&path),
                1 => link(&path, b"x"),
                _ => file(&path, size, mtime),
            });
            if let Ok(index) = Index::new(items.collect()) {
                let bytes = index.encode();
                prop_assert_eq!(index.encoded_len(), bytes.len() as u64);
                let message = IndexMessage { items: index.items().iter().map(message).collect() };
                prop_assert!(bytes.starts_with(&message.encode_to_vec()));
                prop_assert_eq!(again(&index), Ok(index));
            }
        }
    }
}
