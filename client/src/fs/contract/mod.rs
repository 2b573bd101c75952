//! What every implementation of the traits of `fs` must do: one suite, run on the disk with
//! `openat2`, on the disk with the walk, and in memory.

mod looking;
mod subject;
mod swapping;
mod whole;

use super::{Area, RelPath};
use common::name::Name;
pub(crate) use subject::{Disk, Memory, Subject};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A path in the tree; empty for the root.
pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.split('/').filter(|name| !name.is_empty()).map(name).collect()).unwrap()
}

pub(crate) fn private(area: Area, text: &str) -> RelPath {
    RelPath::inside(area, name(text))
}

/// Asserts that a result is an error of one variant for one path.
macro_rules! assert_refused {
    ($result:expr, $variant:ident, $path:expr) => {{
        let expected: &$crate::fs::RelPath = &$path;
        match $result {
            Err($crate::fs::FsError::$variant { path, .. }) => assert_eq!(path, *expected),
            other => panic!("{:?} instead of {}", other.map(|_| ()), stringify!($variant)),
        }
    }};
}
pub(crate) use assert_refused;

/// Runs each rule of the contract on each implementation.
macro_rules! contract {
    ($($topic:ident: $($rule:ident),* $(,)?;)*) => {
        mod kernel {
            $($(#[test] fn $rule() { super::$topic::$rule(&super::Disk::kernel()); })*)*
        }
        mod walk {
            $($(#[test] fn $rule() { super::$topic::$rule(&super::Disk::walk()); })*)*
        }
        mod memory {
            $($(#[test] fn $rule() { super::$topic::$rule(&super::Memory::new()); })*)*
        }
    };
}

contract! {
    looking:
        lists_all_but_its_own_directory,
        an_error_is_not_an_empty_list,
        looks_at_each_kind,
        nothing_is_reached_through_a_link,
        reads_links,
        opens_regular_files_alone,
        an_open_file_stays_itself,
        long_paths_work;
    swapping:
        stages_and_moves_in,
        a_staged_file_is_gone_on_with,
        only_a_staged_file_of_ours_is_gone_on_with,
        staging_needs_the_private_directory,
        makes_directories_with_their_mode,
        makes_links_in_private_alone,
        rename_never_replaces,
        rename_says_what_is_missing,
        exchange_swaps_any_kinds,
        exchange_needs_both,
        removes_only_private_files,
        removes_only_empty_directories;
    whole:
        attributes_are_guarded,
        an_open_writer_is_seen,
        a_displaced_file_is_still_written_by_its_writer,
        the_marker_is_made_once,
        missing_areas_are_repaired,
        sync_takes_what_is_there_and_what_is_gone,
        tells_room_and_boot,
        tells_whether_names_fold;
}
