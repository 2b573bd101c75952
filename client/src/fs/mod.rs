//! One synced root: all that scanner and apply may see and change of a disk.
//!
//! Owns the traits [`Look`], [`Swap`] and [`Root`] (together [`Fs`]), their implementation on a
//! real disk, [`DiskFs`], and one in memory for the seeded simulation, [`MemoryFs`]. It knows no
//! entry, no tree and no plan: paths go in, observations and typed errors come out.
//!
//! # Platforms
//!
//! Built for Linux. What another platform needs sits behind the same traits:
//!
//! | here (Linux) | macOS | Windows |
//! |---|---|---|
//! | `openat2` beneath, no symlinks; else a walk with `O_NOFOLLOW` | the walk, or `O_NOFOLLOW_ANY` | handles relative to a directory (`NtCreateFile`), reparse points refused |
//! | `RENAME_EXCHANGE`, `RENAME_NOREPLACE` | `renameatx_np` with `RENAME_SWAP`, `RENAME_EXCL` | no exchange: `Unsupported`; no-replace is the default of `MoveFileEx` |
//! | a read lease shows that no writer is left | none: `Unsupported`, so displaced files wait for a settle time | a handle opened without `FILE_SHARE_WRITE` shows it |
//! | `fsync`, `syncfs` | `F_FULLFSYNC` a file | `FlushFileBuffers` a file; directories need none |
//! | `statx` birth time | `st_birthtime` | creation time |
//! | boot id from `/proc` | `kern.bootsessionuuid` | boot time of the system |
//! | names are bytes, case counts | names are UTF-8 and normalised, case mostly does not count | UTF-16, case does not count; `Name::problem_on` |

pub mod bundle;
pub mod disk;
pub mod memory;

mod error;
mod lease;
mod path;
mod stat;
mod traits;

#[cfg(test)]
pub(crate) mod contract;

pub use bundle::Bundled;
pub use disk::DiskFs;
pub use error::{DatabaseProblem, FsError};
pub use memory::MemoryFs;
pub use path::{Area, PathError, RelPath};
pub use stat::{FreeSpace, Kind, Listed, Listing, RootIdentity, Stat};
pub use traits::{Fs, Look, MARKER_BYTES_MAX, ReadFile, Root, StagedFile, Swap};
