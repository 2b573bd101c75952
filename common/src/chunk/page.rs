//! Manifest pages: ordered lists of children, ids in the clear and plaintext lengths sealed.
//!
//! Owns the layout of one page and what of it a server can check without a key. It must not know
//! how children are grouped into pages.

use super::body::{self, BODY_HEADER_BYTES, Body};
use super::envelope::{self, Binding, IV_BYTES, TAG_BYTES};
use super::{ObjectType, OpenError, PageError};
use crate::ids::{ChunkId, FolderId};
use crate::keys::FolderKeys;
use crate::limits::{
    CHUNK_BYTES_MAX, FILE_BYTES_MAX, PAGE_ENTRIES_MAX, PAGE_LEVEL_MAX, SEALED_BYTES_MAX,
};

/// A child's plaintext length, little-endian.
const LENGTH_BYTES: usize = 8;
/// Level and count.
const COUNTS_BYTES: usize = 3;

/// One child of a page: a chunk below level 1, a page of the next lower level elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The object.
    pub id: ChunkId,
    /// Bytes of the file that it stands for, at least 1.
    pub plain_bytes: u64,
}

/// A page as a device reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 1 for a page of chunks, up to [`PAGE_LEVEL_MAX`].
    pub level: u8,
    /// 1 to [`PAGE_ENTRIES_MAX`] children in file order.
    pub children: Vec<Child>,
}

impl Page {
    /// Bytes of the file that the page stands for, at most [`FILE_BYTES_MAX`].
    #[must_use]
    pub fn plain_bytes(&self) -> u64 {
        // Both makers of pages check the sum; saturating keeps a hand-made one from wrapping.
        self.children.iter().fold(0, |sum, child| sum.saturating_add(child.plain_bytes))
    }
}

/// What a page says without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearPage {
    /// 1 for a page of chunks, up to [`PAGE_LEVEL_MAX`].
    pub level: u8,
    /// 1 to [`PAGE_ENTRIES_MAX`] children in file order.
    pub ids: Vec<ChunkId>,
}

/// The parts of a stored page.
struct Stored<'a> {
    epoch: u32,
    level: u8,
    /// Level, count and ids, as the associated data has them.
    bound: &'a [u8],
    /// IV, ciphertext, tag.
    sealed: &'a [u8],
}

impl Stored<'_> {
    fn ids(&self) -> impl ExactSizeIterator<Item = ChunkId> {
        let (ids, _) = self.bound[COUNTS_BYTES..].as_chunks::<{ ChunkId::LEN }>();
        ids.iter().map(|id| ChunkId::from_bytes(*id))
    }
}

/// Reads what a server can check of a page: id, header, folder, level, count and length.
///
/// # Errors
/// [`PageError`] says what is wrong.
pub fn read_clear_page(
    expected_id: &ChunkId,
    stored: &[u8],
    folder: &FolderId,
) -> Result<ClearPage, PageError> {
    let page = read_stored(expected_id, stored, folder)?;
    Ok(ClearPage { level: page.level, ids: page.ids().collect() })
}

/// Opens a page after checking that the bytes are those of the id.
///
/// The caller compares [`Page::plain_bytes`] with what the page above or the attributes say.
///
/// # Errors
/// [`OpenError`] also when the page is of another level, or a length or their sum exceeds what
/// chunks, levels and files may have; where [`OpenError::is_retryable`], another copy may open.
pub fn open_page(
    keys: &FolderKeys,
    folder: &FolderId,
    expected_id: &ChunkId,
    expected_level: u8,
    stored: &[u8],
) -> Result<Page, OpenError> {
    let page = read_stored(expected_id, stored, folder)?;
    if page.level != expected_level {
        return Err(OpenError::Level { expected: expected_level, found: page.level });
    }
    let binding =
        Binding { object: ObjectType::Page, folder, epoch: page.epoch, bound: page.bound };
    let mut hashed = Vec::new();
    let plaintext_at = envelope::open(keys, &binding, page.sealed, &mut hashed)?;
    let lengths = Body::read(&hashed[plaintext_at..], PAGE_ENTRIES_MAX * LENGTH_BYTES)?.raw()?;
    let (lengths, rest) = lengths.as_chunks::<LENGTH_BYTES>();
    if !rest.is_empty() || lengths.len() != page.ids().len() {
        return Err(OpenError::Malformed("not one length an entry"));
    }
    let lengths = lengths.iter().map(|length| u64::from_le_bytes(*length));
    let children: Vec<Child> =
        page.ids().zip(lengths).map(|(id, plain_bytes)| Child { id, plain_bytes }).collect();
    check_lengths(page.level, &children)?;
    Ok(Page { level: page.level, children })
}

/// Seals a page under the current epoch. `children` are 1 to [`PAGE_ENTRIES_MAX`].
pub(super) fn seal_page(
    keys: &FolderKeys,
    folder: &FolderId,
    level: u8,
    children: &[Child],
) -> Vec<u8> {
    debug_assert!((1..=PAGE_ENTRIES_MAX).contains(&children.len()));
    let mut clear =
        Vec::with_capacity(FolderId::LEN + COUNTS_BYTES + children.len() * ChunkId::LEN);
    clear.extend_from_slice(folder.as_bytes());
    clear.push(level);
    clear.extend_from_slice(&(children.len() as u16).to_le_bytes());
    let mut lengths = Vec::with_capacity(children.len() * LENGTH_BYTES);
    for child in children {
        clear.extend_from_slice(child.id.as_bytes());
        lengths.extend_from_slice(&child.plain_bytes.to_le_bytes());
    }
    let (epoch, pair) = keys.current_sealing(ObjectType::Page);
    let bound = &clear[FolderId::LEN..];
    let binding = Binding { object: ObjectType::Page, folder, epoch, bound };
    let mut hashed = Vec::new();
    let plaintext_at = binding.begin(&mut hashed);
    body::append_raw(&mut hashed, &lengths, 1);
    envelope::seal(pair, &binding, &clear, &hashed, plaintext_at)
}

fn read_stored<'a>(
    expected_id: &ChunkId,
    stored: &'a [u8],
    folder: &FolderId,
) -> Result<Stored<'a>, PageError> {
    envelope::check_id(expected_id, stored, SEALED_BYTES_MAX)?;
    let (epoch, rest) = envelope::read_header(ObjectType::Page, stored, SEALED_BYTES_MAX)?;
    let truncated = |needed| PageError::Truncated { actual: rest.len(), needed };
    let (found, rest_of_page) = rest
        .split_first_chunk::<{ FolderId::LEN }>()
        .ok_or(truncated(FolderId::LEN + COUNTS_BYTES))?;
    if found != folder.as_bytes() {
        return Err(PageError::Folder);
    }
    let [level, low, high, ..] = *rest_of_page else {
        return Err(truncated(FolderId::LEN + COUNTS_BYTES));
    };
    if level == 0 || level > PAGE_LEVEL_MAX {
        return Err(PageError::Level(level));
    }
    let count = u16::from_le_bytes([low, high]);
    let entries = usize::from(count);
    if entries == 0 || entries > PAGE_ENTRIES_MAX {
        return Err(PageError::Count(count));
    }
    let bound_bytes = COUNTS_BYTES + entries * ChunkId::LEN;
    let sealed_bytes = IV_BYTES + BODY_HEADER_BYTES + entries * LENGTH_BYTES + TAG_BYTES;
    if rest_of_page.len() < bound_bytes + sealed_bytes {
        return Err(truncated(FolderId::LEN + bound_bytes + sealed_bytes));
    }
    let (bound, sealed) = rest_of_page.split_at(bound_bytes);
    Ok(Stored { epoch, level, bound, sealed })
}

/// No child is empty or longer than its level can hold, and no page longer than a file.
fn check_lengths(level: u8, children: &[Child]) -> Result<(), OpenError> {
    let below = u32::from(level.saturating_sub(1));
    let child_max = (PAGE_ENTRIES_MAX as u64)
        .saturating_pow(below)
        .saturating_mul(CHUNK_BYTES_MAX.into())
        .min(FILE_BYTES_MAX);
    let mut total: u64 = 0;
    for Child { plain_bytes, .. } in children {
        if *plain_bytes == 0 {
            return Err(OpenError::Malformed("an entry of no bytes"));
        }
        let too_large = |field, actual, limit| OpenError::TooLarge { field, actual, limit };
        if *plain_bytes > child_max {
            return Err(too_large("length of an entry", *plain_bytes, child_max));
        }
        // At most 512 entries of at most 2^44 bytes: the sum stays far below 2^64.
        total += plain_bytes;
        if total > FILE_BYTES_MAX {
            return Err(too_large("sum of lengths", total, FILE_BYTES_MAX));
        }
    }
    Ok(())
}
