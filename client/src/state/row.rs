//! Conversion between columns and values.
//!
//! Owns nothing but the mapping; a bad value is an error of the read, never a default.

use common::ids::{ChunkId, ContentTag, EntryId};
use common::name::Name;
use common::record::{Kind, Root};
use rusqlite::types::Type;
use rusqlite::{Result, Row};

fn bad(
    index: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error))
}

#[derive(Debug, thiserror::Error)]
#[error("a number in the state database is out of range")]
struct OutOfRange;

pub(super) fn blob(entry: &EntryId) -> &[u8] {
    entry.as_bytes().as_slice()
}

macro_rules! id_reader {
    ($name:ident, $id:ty) => {
        pub(super) fn $name(row: &Row<'_>, index: usize) -> Result<$id> {
            let bytes = row.get_ref(index)?.as_blob()?;
            <$id>::from_slice(bytes).map_err(|error| bad(index, Type::Blob, error))
        }
    };
}

id_reader!(entry, EntryId);
id_reader!(tag, ContentTag);
id_reader!(chunk, ChunkId);
id_reader!(head, common::ids::Head);
id_reader!(signature, common::ids::Signature);
id_reader!(device, common::ids::DeviceId);
id_reader!(conflict, common::ids::ConflictId);

pub(super) fn optional_tag(row: &Row<'_>, index: usize) -> Result<Option<ContentTag>> {
    match row.get_ref(index)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => tag(row, index).map(Some),
    }
}

pub(super) fn name(row: &Row<'_>, index: usize) -> Result<Name> {
    Name::new(row.get::<_, String>(index)?).map_err(|error| bad(index, Type::Text, error))
}

pub(super) fn kind(row: &Row<'_>, index: usize) -> Result<Kind> {
    Kind::from_code(row.get(index)?).ok_or_else(|| bad(index, Type::Integer, OutOfRange))
}

pub(super) fn unsigned(row: &Row<'_>, index: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(index)?).map_err(|error| bad(index, Type::Integer, error))
}

/// Inodes and device numbers use all 64 bits; they are stored as the same bits.
pub(super) fn bits(row: &Row<'_>, index: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(index)?.cast_unsigned())
}

/// A root in two columns, the id at `index` and the level after it.
pub(super) fn root(row: &Row<'_>, index: usize) -> Result<Option<Root>> {
    match row.get_ref(index)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => Ok(Some(Root { id: chunk(row, index)?, level: row.get(index + 1)? })),
    }
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
