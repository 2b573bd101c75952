//! The index of a git repository, without what it says of this disk.
//!
//! Owns what is left out. git keeps in its index, beside what is staged, how each file of the work tree
//! looked when it was last compared: times, numbers of inodes. `git status` alone writes that anew. It is
//! true on one disk only, and must not count as a change of the repository, nor reach another disk. What
//! is left is an index as `git read-tree` leaves it, of the same length (index-format(5)).

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// What it is called.
const NAME: &str = "index";
/// Where the repositories of submodules and further work trees lie in one, with an index each.
const WITHIN: [&str; 2] = ["modules/", "worktrees/"];
/// Where nothing is an index, whatever it is called: a branch may be named so.
const REFERENCES: &str = "/refs/";
/// Longest index that is read as a whole, in bytes, and most of all of a repository together: about three
/// million files. What is beyond that is read as it is.
pub(super) const BYTES_MAX: u64 = 256 * 1024 * 1024;
const MAGIC: &[u8; 4] = b"DIRC";
const HEADER_BYTES: usize = 12;
/// An entry up to its object's id: times, device, inode; mode; owner, group, size.
const FIXED_BYTES: usize = 40;
/// Of those what is of this disk, before and behind the mode.
const OF_THIS_DISK: [std::ops::Range<usize>; 2] = [0..24, 28..FIXED_BYTES];
/// The flag that says that there are two more bytes of flags.
const EXTENDED: u8 = 0x40;

/// Whether a path in a repository is that of an index: its own, or one of a repository in it.
pub(super) fn is_path(inside: &str) -> bool {
    let is_within = WITHIN.iter().any(|directory| inside.starts_with(directory));
    let above = inside.strip_suffix(NAME).filter(|above| is_within && above.ends_with('/'));
    inside == NAME || above.is_some_and(|above| !above.contains(REFERENCES))
}

/// Takes out of an index what is of this disk; `false` if it is none that is known, and then it is as it
/// was.
pub(super) fn forget_disk(index: &mut [u8]) -> bool {
    let Some(algorithm) = algorithm(index) else { return false };
    let body = index.len() - algorithm.output_len();
    let Some((entries, _)) = entries(&index[..body], algorithm.output_len()) else { return false };
    for start in entries {
        for range in OF_THIS_DISK {
            index[start + range.start..start + range.end].fill(0);
        }
    }
    let (body, checksum) = index.split_at_mut(body);
    if checksum.iter().any(|byte| *byte != 0) {
        checksum.copy_from_slice(digest(algorithm, body).as_ref());
    }
    true
}

/// By which hash the index ends, and its objects are named. One without a checksum has zeros in its
/// place (`index.skipHash`): then what it lists tells, since with ids of another length nothing fits.
fn algorithm(index: &[u8]) -> Option<&'static Algorithm> {
    [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].into_iter().find(|algorithm| {
        let body = index.len().checked_sub(algorithm.output_len());
        body.filter(|body| *body >= HEADER_BYTES).is_some_and(|body| {
            let (body, checksum) = index.split_at(body);
            let is_left_out = checksum.iter().all(|byte| *byte == 0);
            match is_left_out {
                true => fits(body, algorithm.output_len()),
                false => digest(algorithm, body).as_ref() == checksum,
            }
        })
    })
}

/// Whether entries with ids of this length, and extensions after them, fill an index exactly.
fn fits(body: &[u8], id_bytes: usize) -> bool {
    let Some((_, mut at)) = entries(body, id_bytes) else { return false };
    while at < body.len() {
        let Some(header) = body.get(at..at + 8) else { return false };
        let (name, length) = header.split_at(4);
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if !name.iter().all(u8::is_ascii_alphabetic) {
            return false;
        }
        at = at.saturating_add(8).saturating_add(length);
    }
    at == body.len()
}

/// Where the entries begin, and where they end.
fn entries(body: &[u8], id_bytes: usize) -> Option<(Vec<usize>, usize)> {
    let number = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let version =
        number(4).filter(|version| body.starts_with(MAGIC) && (2..=4).contains(version))?;
    let count = usize::try_from(number(8)?).ok()?;
    let (mut starts, mut at) = (Vec::new(), HEADER_BYTES);
    for _ in 0..count {
        starts.push(at);
        let flags = at + FIXED_BYTES + id_bytes;
        let is_extended = version >= 3 && body.get(flags)? & EXTENDED != 0;
        let mut name = flags + if is_extended { 4 } else { 2 };
        if version == 4 {
            // How much of the name before it is cut: a number of so many bytes.
            while body.get(name)? & 0x80 != 0 {
                name += 1;
            }
            name += 1;
        }
        let length = body.get(name..)?.iter().position(|byte| *byte == 0)?;
        at = match version {
            4 => name + length + 1,
            // Padded with one to eight zeros.
            _ => at + (name + length - at + 8) / 8 * 8,
        };
    }
    (at <= body.len()).then_some((starts, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn git(at: &Path, arguments: &[&str]) {
        let done = Command::new("git")
            .current_dir(at)
            .args(["-c", "user.name=A", "-c", "user.email=a@localhost"])
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    #[test]
    fn an_index_without_its_disk_says_the_same_to_git_and_on_every_disk() {
        let kinds = [("2", "sha1"), ("3", "sha1"), ("4", "sha1"), ("4", "sha256")];
        let kinds = kinds.iter().flat_map(|(version, hash)| {
            ["false", "true"].map(|skips_hash| (*version, *hash, skips_hash))
        });
        for (version, hash, skips_hash) in kinds {
            let directory = tempfile::tempdir().unwrap();
            let at = directory.path();
            git(at, &["init", "--quiet", &format!("--object-format={hash}")]);
            git(at, &["config", "index.skipHash", skips_hash]);
            std::fs::create_dir(at.join("directory")).unwrap();
            for name in ["a", "directory/b", "directory/be", "intended"] {
                std::fs::write(at.join(name), name).unwrap();
            }
            git(at, &["add", "a", "directory"]);
            git(at, &["commit", "--quiet", "--message", "first"]);
            if version == "3" {
                // What is only intended to be added has more flags.
                git(at, &["add", "--intent-to-add", "intended"]);
            }
            git(at, &["update-index", "--index-version", version]);
            let index = at.join(".git/index");
            let before = std::fs::read(&index).unwrap();
            let mut one = before.clone();
            assert!(forget_disk(&mut one) && one != before, "{version} {hash}");
            for name in ["a", "directory/b"] {
                let file = std::fs::File::options().write(true).open(at.join(name)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            git(at, &["status"]);
            let mut two = std::fs::read(&index).unwrap();
            assert_ne!(two, before, "git has looked again");
            assert!(forget_disk(&mut two) && one == two, "{version} {hash}");
            // git takes it, finds all files as they are, and knows what is staged.
            std::fs::write(&index, &one).unwrap();
            git(at, &["fsck", "--strict"]);
            git(at, &["diff", "--quiet", "--cached", "HEAD", "--", "a", "directory"]);
            git(at, &["diff", "--quiet", "--", "a", "directory"]);
            std::fs::write(at.join("a"), "another").unwrap();
            git(at, &["add", "a"]);
            let mut staged = std::fs::read(&index).unwrap();
            assert!(forget_disk(&mut staged) && staged != one, "what is staged counts");
        }
    }

    #[test]
    fn an_index_lies_in_each_repository_within_one() {
        for path in
            ["index", "modules/a/index", "modules/a/b/worktrees/c/index", "worktrees/d/index"]
        {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "HEAD",
            "a/index",
            "modules/a/myindex",
            "modules/a/refs/heads/index",
            "modules/a/logs/refs/heads/index",
            "worktrees/a/index/b",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_index_stays_as_it_is() {
        let mut cut = [&MAGIC[..], &[0, 0, 0, 2, 0, 0, 0, 9]].concat();
        cut.extend_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &cut).as_ref());
        for bytes in [Vec::new(), b"DIRC".to_vec(), vec![0; 100], cut] {
            let mut forgotten = bytes.clone();
            assert!(!forget_disk(&mut forgotten) && forgotten == bytes);
        }
    }
}
