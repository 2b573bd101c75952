//! Git repositories on two devices, with the real programs: on the one who receives them they are
//! whole at every moment, not only at the end.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tests::harness::{Pair, Random, eventually, git, git_ok, size};

/// Time for a sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// Rounds of work on the repository.
const ROUNDS: usize = 21;

/// One thing that people do to a repository.
fn work(at: &Path, round: usize, random: &mut Random) -> Result<()> {
    for number in 0..=random.below(4) {
        let text = format!("{round} {number} {}\n", random.bits());
        let name = format!("file{}", random.below(6));
        fs::write(at.join(name), text.repeat(1 + random.below(2000)))?;
    }
    git_ok(at, &["add", "--all"])?;
    git_ok(at, &["commit", "--quiet", "--message", &format!("round {round}")])?;
    match round % 7 {
        2 => {
            git_ok(at, &["checkout", "--quiet", "-B", "topic", "HEAD~1"])?;
            fs::write(at.join("topic"), format!("{round}"))?;
            git_ok(at, &["add", "--all"])?;
            git_ok(at, &["commit", "--quiet", "--message", "topic"])?;
            git_ok(at, &["rebase", "--quiet", "main"])?;
            git_ok(at, &["checkout", "--quiet", "main"])?;
            git_ok(at, &["merge", "--quiet", "--ff-only", "topic"])?;
        }
        4 => drop(git_ok(at, &["gc", "--quiet", "--prune=now"])?),
        5 => drop(git_ok(at, &["commit", "--quiet", "--amend", "--message", "amended"])?),
        6 => drop(git_ok(at, &["repack", "-a", "-d", "-q"])?),
        _ => {}
    }
    Ok(())
}

#[test]
fn a_received_repository_is_whole_at_every_moment() {
    let seed = size("DRIFTLESS_SEED", 1);
    println!("seed {seed} (DRIFTLESS_SEED sets it)");
    series(seed as u64, ROUNDS).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

fn series(seed: u64, rounds: usize) -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    let mut random = Random::new(seed);
    let [here, there] = [0, 1].map(|device| pair.devices[device].root().join("repository"));
    fs::create_dir(&here)?;
    git_ok(&here, &["init", "--quiet", "--initial-branch=main"])?;
    let (is_over, checks) = (AtomicBool::new(false), AtomicU64::new(0));
    let checked = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&there, &is_over, &checks));
        let worked = (0..rounds).try_for_each(|round| {
            work(&here, round, &mut random)?;
            // Every other time the next work begins while the last is on its way.
            if round % 2 == 1 {
                return Ok(());
            }
            pair.sync()?;
            // A check that began after this is one of what has come.
            let (before, enough) = (checks.load(Ordering::Relaxed), 2);
            eventually("a check of a version", || {
                let made = checks.load(Ordering::Relaxed) - before;
                Ok((made >= enough || watcher.is_finished()).then_some(()))
            })
        });
        let worked = worked.and_then(|()| pair.meet());
        is_over.store(true, Ordering::Relaxed);
        let checked = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        worked.and(checked)
    });
    let (versions, ordinary) = checked?;
    let checks = checks.load(Ordering::Relaxed);
    println!("{checks} checks saw {versions} versions, {ordinary} by path a single one");
    let waited_for = rounds.div_ceil(2) as u64;
    ensure!(versions.min(ordinary) >= waited_for, "too few checks: {versions}, {ordinary}");
    ensure!(git_ok(&here, &["rev-parse", "HEAD"])? == git_ok(&there, &["rev-parse", "HEAD"])?);
    let staged = [&here, &there].map(|at| git_ok(at, &["ls-files", "--stage"]));
    let [ours, theirs] = staged;
    ensure!(ours? == theirs?, "another index");
    // Looking at it is no change of it, on either device.
    let versions = || pair.devices[0].versions("repository/.git").map(|all| all.len());
    let before = versions()?;
    for (at, device) in [(&here, &pair.devices[0]), (&there, &pair.devices[1])] {
        ensure!(git_ok(at, &["status", "--porcelain"])?.is_empty(), "work is left");
        device.sync(SYNC_SECONDS)?;
    }
    pair.meet()?;
    ensure!(versions()? == before, "`git status` made a version");
    Ok(())
}

/// Checks the repository for as long as the work goes on; returns how many versions it saw, and how many
/// ordinary checks met one version alone.
///
/// Each check begins in the repository's own directory and stays there when another version takes its
/// place, so that it sees one moment. By its path it could look at two, as it can where git itself is
/// at work meanwhile: `fsck` lists objects first and follows references afterwards. An ordinary one by
/// the path of the work tree has to pass wherever no other version has come meanwhile; what was
/// displaced stays for a minute, so that no other has its inode.
fn watch(at: &Path, is_over: &AtomicBool, checks: &AtomicU64) -> Result<(u64, u64)> {
    let (mut versions, mut last) = (0, String::new());
    let (mut is_there, mut ordinary) = (false, 0);
    while !is_over.load(Ordering::Relaxed) {
        if !at.join(".git").is_dir() {
            ensure!(!is_there, "the repository was there and is gone");
            std::thread::yield_now();
            continue;
        }
        is_there = true;
        let inside = at.join(".git");
        let mut output =
            git(&inside, &["--git-dir=.", "fsck", "--full", "--strict", "--no-progress"])?;
        let which = || fs::metadata(&inside).map(|it| it.ino());
        let stood = which()?;
        let by_path = git(at, &["fsck", "--full", "--strict", "--no-progress"])?;
        if stood == which()? {
            ordinary += 1;
            if output.status.success() {
                output = by_path;
            }
        }
        if !output.status.success() {
            bail!(
                "after {} checks: {}{}",
                checks.load(Ordering::Relaxed),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        checks.fetch_add(1, Ordering::Relaxed);
        let head = git(at, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
        if head.status.success() {
            let head = String::from_utf8(head.stdout).context("an id is text")?;
            versions += u64::from(head != last);
            last = head;
        }
    }
    Ok((versions, ordinary))
}
