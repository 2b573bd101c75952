//! Where files are cut: FastCDC (Xia et al., 2020), with gear tables seeded from the folder key.
//!
//! Owns the parameters that fix cut points; golden tests pin them, and a change is a new format
//! version. It must not know who reads the bytes, nor what becomes of a chunk.

use crate::limits::{CHUNK_BYTES_AVG, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use std::fmt;
use std::sync::Arc;

/// How strongly chunk lengths are drawn to the average.
const NORMALIZATION: Normalization = Normalization::Level2;

/// Cuts a file into content-defined chunks, the same on every device of a folder.
///
/// Cloning is cheap: the tables are shared.
#[derive(Clone)]
pub struct Chunker {
    tables: Arc<Tables>,
}

/// The gear tables and the masks that a hash is tested with; `_twice` is for the first of each
/// pair of bytes, whose hash stands one bit to the left (section 3.7 of the paper).
struct Tables {
    gear: Vec<u64>,
    gear_twice: Vec<u64>,
    mask_before_average: u64,
    mask_after_average: u64,
}

impl Chunker {
    /// The chunker of the folder with this [`crate::keys::FolderKeys::chunker_seed`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (gear, gear_twice) = get_gear_with_seed(seed);
        let (mask_before_average, mask_after_average) =
            select_masks(CHUNK_BYTES_AVG as usize, NORMALIZATION);
        Self {
            tables: Arc::new(Tables {
                gear: gear.into_owned(),
                gear_twice: gear_twice.into_owned(),
                mask_before_average,
                mask_after_average,
            }),
        }
    }

    /// The length in bytes of the chunk at the front of `data`; 0 for no data.
    ///
    /// `data` holds at least [`CHUNK_BYTES_MAX`] bytes or reaches the end of the file, else the
    /// cut depends on how much was read. A chunk has [`CHUNK_BYTES_MIN`] to [`CHUNK_BYTES_MAX`]
    /// bytes; the last of a file may be shorter.
    #[must_use]
    pub fn cut(&self, data: &[u8]) -> usize {
        let tables = &*self.tables;
        let (_, length) = cut_gear(
            data,
            CHUNK_BYTES_MIN as usize,
            CHUNK_BYTES_AVG as usize,
            CHUNK_BYTES_MAX as usize,
            tables.mask_before_average,
            tables.mask_after_average,
            tables.mask_before_average << 1,
            tables.mask_after_average << 1,
            &tables.gear,
            &tables.gear_twice,
        );
        length
    }
}

impl fmt::Debug for Chunker {
    /// The seed is a secret of the folder, and so are the tables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunker")
    }
}
