//! Real processes die at random moments, and nothing acknowledged is lost.
//!
//! A server and two devices run on loopback while a seeded writer changes files on both; one of
//! the three gets SIGKILL again and again. This is the one test of what only real processes show:
//! locks, sockets and databases left as a crash leaves them. (`kill -9` says nothing about power
//! loss: un-synced data is the simulation's.)

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep; // ok: the moment of a kill is drawn from the seed
use std::time::Duration;
use tests::harness::{Device, Programs, Random, Server, Tree, size};

/// Kills in CI; `DRIFTLESS_KILLS` sets another number.
const KILLS: usize = 50;
/// Paths that both devices write, so that they meet in conflicts too.
const PATHS: usize = 12;
/// Longest time into a sync at which the kill comes, in milliseconds.
const MOMENT_MS_MAX: usize = 250;
/// Time for a sync while nobody is killed, in seconds.
const SYNC_SECONDS: u64 = 60;
/// Rounds of syncs after which both devices must be equal.
const ROUNDS_MAX: usize = 5;

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let seed = size("DRIFTLESS_SEED", 1);
    let kills = size("DRIFTLESS_KILLS", KILLS);
    println!("seed {seed} (DRIFTLESS_SEED sets it), {kills} kills (DRIFTLESS_KILLS)");
    let mut world = World::start(seed as u64).unwrap_or_else(|error| panic!("{error:?}"));
    let outcome = (0..kills)
        .try_for_each(|round| world.round(round).with_context(|| format!("round {round}")))
        .and_then(|()| world.settle())
        .and_then(|()| world.check());
    if let Err(error) = outcome {
        panic!("seed {seed}: {error:?}\nwhat is left: {}", world.keep());
    }
    println!("{}", world.report());
}

/// One value that was written, and where.
#[derive(Clone, Debug)]
struct Write {
    path: String,
    bytes: Vec<u8>,
}

struct World {
    directory: tempfile::TempDir,
    server: Server,
    devices: [Device; 2],
    random: Random,
    /// All values, by number.
    writes: Vec<Write>,
    /// The newest value that each device wrote at each path.
    newest: BTreeMap<(usize, String), usize>,
    /// Values that a device held when it then reported that it was in sync.
    acknowledged: BTreeSet<usize>,
    killed: [usize; 3],
}

impl World {
    fn start(seed: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory.path())?;
        let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
        let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
        Ok(Self {
            directory,
            server,
            devices: [first, second],
            random: Random::new(seed),
            writes: Vec::new(),
            newest: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            killed: [0; 3],
        })
    }

    /// Writes, a kill at a random moment of a sync, writes while one is dead, a restart.
    fn round(&mut self, round: usize) -> Result<()> {
        self.write_some()?;
        let mut sync = self.devices[self.random.below(2)].start_sync(SYNC_SECONDS)?;
        let moment = Duration::from_millis(self.random.below(MOMENT_MS_MAX) as u64);
        // ok: the moment of the kill is drawn; nothing is hoped for at its end.
        sleep(moment);
        let victim = self.random.below(3);
        self.killed[victim] += 1;
        match victim {
            2 => self.server.kill()?,
            device => self.devices[device].kill()?,
        }
        self.write_some()?;
        match victim {
            2 => self.server.run()?,
            device => self.devices[device].run()?,
        }
        // It may have been cut, or have finished: what it says counts for nothing here.
        sync.wait()?;
        if round % 4 == 3 {
            let device = self.random.below(2);
            self.sync(device)?;
        }
        Ok(())
    }

    /// One to three values on each device.
    fn write_some(&mut self) -> Result<()> {
        for device in 0..2 {
            for _ in 0..=self.random.below(3) {
                let path = format!("d{0}/file {0}", self.random.below(PATHS));
                let number = self.writes.len();
                let bytes = value(number, &mut self.random);
                let full = self.devices[device].root().join(&path);
                fs::create_dir_all(full.parent().context("a root without parent")?)?;
                if self.random.below(2) == 0 {
                    fs::write(&full, &bytes)?;
                } else {
                    let aside = self.directory.path().join("aside");
                    fs::write(&aside, &bytes)?;
                    fs::rename(&aside, &full)?;
                }
                self.newest.insert((device, path.clone()), number);
                self.writes.push(Write { path, bytes });
            }
        }
        Ok(())
    }

    /// A whole sync; what the device held before it is acknowledged by it.
    fn sync(&mut self, device: usize) -> Result<()> {
        let held = self.held(device)?;
        // Open conflicts are in sync: both sides hold them.
        self.devices[device].sync_to_conflicts(SYNC_SECONDS)?;
        self.acknowledged.extend(held);
        Ok(())
    }

    /// The values that are whole files on a device.
    fn held(&self, device: usize) -> Result<BTreeSet<usize>> {
        let root = self.devices[device].root();
        let mut held = BTreeSet::new();
        for path in files(root)? {
            let bytes = match fs::read(&path) {
                // Apply may move a file between the listing and the read.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            held.extend(self.number(&bytes));
        }
        Ok(held)
    }

    /// Which value these bytes are, if they are a whole one.
    fn number(&self, bytes: &[u8]) -> Option<usize> {
        let digits = bytes.strip_prefix(b"value ")?.split(|byte| *byte == b'\n').next()?;
        let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (self.writes.get(number)?.bytes == bytes).then_some(number)
    }

    /// Syncs until both devices hold the same.
    fn settle(&mut self) -> Result<()> {
        let mut differences = Vec::new();
        for _ in 0..ROUNDS_MAX {
            for device in [0, 1, 0] {
                self.sync(device)?;
            }
            let [first, second] = [0, 1].map(|device| Tree::read(self.devices[device].root()));
            differences = first?.differences(&second?);
            if differences.is_empty() {
                return Ok(());
            }
        }
        anyhow::bail!("no convergence after {ROUNDS_MAX} rounds:\n{}", differences.join("\n"))
    }

    /// Every value that was acknowledged, and every one that its writer did not replace, is a
    /// file's content or in the history.
    fn check(&mut self) -> Result<()> {
        let wanted: BTreeSet<usize> =
            self.acknowledged.iter().chain(self.newest.values()).copied().collect();
        let mut found = self.held(1)?;
        let mut paths: BTreeSet<String> = BTreeSet::new();
        for path in files(self.devices[0].root())? {
            let relative = path.strip_prefix(self.devices[0].root())?;
            paths.insert(relative.to_str().context("a path that is no UTF-8")?.to_owned());
        }
        for path in &paths {
            let names_missing = |number: &usize| {
                let written = self.writes[*number].path.rsplit('/').next().unwrap_or_default();
                !found.contains(number) && path.contains(written)
            };
            if !wanted.iter().any(names_missing) {
                continue;
            }
            for version in self.devices[0].versions(path)? {
                if version.size > 0 {
                    let bytes = self.devices[0].cat(path, version.revision)?;
                    found.extend(self.number(&bytes));
                }
            }
        }
        let lost: Vec<String> = wanted
            .difference(&found)
            .map(|number| {
                let how =
                    if self.acknowledged.contains(number) { "acknowledged" } else { "newest" };
                format!("value {number} at {}, {how}", self.writes[*number].path)
            })
            .collect();
        ensure!(lost.is_empty(), "lost:\n{}", lost.join("\n"));
        self.devices.iter_mut().try_for_each(Device::stop)?;
        self.server.stop()
    }

    fn report(&self) -> String {
        format!(
            "values written {}, acknowledged {}, lost 0; killed: first {}, second {}, server {}",
            self.writes.len(),
            self.acknowledged.len(),
            self.killed[0],
            self.killed[1],
            self.killed[2]
        )
    }

    /// Leaves the directories behind for a person to look at.
    fn keep(&mut self) -> String {
        self.directory.disable_cleanup(true);
        self.directory.path().display().to_string()
    }
}

/// Unique bytes: a first line with the number, then some that depend on it.
fn value(number: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = format!("value {number}\n").into_bytes();
    // Mostly small, at times several chunks.
    let length = if random.below(8) == 0 { random.below(400_000) } else { random.below(2_000) };
    let mut filler = Random::new(number as u64);
    bytes.extend(std::iter::repeat_with(|| filler.bits().to_le_bytes()).flatten().take(length));
    bytes
}

/// Regular files below a root, without the device's own.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.file_name() != ".driftless" {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
