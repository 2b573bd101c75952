//! A day of work on two devices, and all of it again afterwards: every version, and the folder at
//! any moment.
//!
//! With the real programs, since this is what a person does with them: edits, renames, moves across
//! directories, deletions and restores, each seen by both devices before the next.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::harness::{Device, Programs, Random, Server, Tree, size};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Edits of the file whose every version is read again.
const EDITS: usize = 50;
/// Moments that the folder is brought back to.
const MOMENTS: usize = 10;
/// Time for a sync, in seconds.
const SYNC_SECONDS: u64 = 60;

#[test]
fn a_day_of_work_can_be_lived_again() {
    let seed = size("DRIFTLESS_SEED", 1);
    println!("seed {seed} (DRIFTLESS_SEED sets it)");
    let mut day = Day::begin(seed as u64).unwrap_or_else(|error| panic!("{error:?}"));
    let outcome = day.work().and_then(|()| day.read_again()).and_then(|()| day.live_again());
    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

/// A moment that the test remembers.
struct Moment {
    revision: u64,
    /// Just after it, before anything else happened.
    time: String,
    tree: Tree,
}

struct Day {
    _directory: tempfile::TempDir,
    _server: Server,
    devices: [Device; 2],
    random: Random,
    moments: Vec<Moment>,
    /// The thesis as it was written, oldest first, and the revision of each.
    edits: Vec<(u64, Vec<u8>)>,
}

impl Day {
    fn begin(seed: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory.path())?;
        let one = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
        let two = Device::join(&programs, directory.path(), "two", &one.invite()?)?;
        Ok(Self {
            _directory: directory,
            _server: server,
            devices: [one, two],
            random: Random::new(seed),
            moments: Vec::new(),
            edits: Vec::new(),
        })
    }

    /// Does something on a device, lets both see it, and remembers what the folder is then.
    fn does(&mut self, device: usize, what: impl FnOnce(&Path) -> Result<()>) -> Result<u64> {
        what(self.devices[device].root())?;
        self.meet(device)
    }

    fn meet(&mut self, first: usize) -> Result<u64> {
        for device in [first, 1 - first] {
            self.devices[device].sync(SYNC_SECONDS)?;
        }
        let trees = [Tree::read(self.devices[0].root())?, Tree::read(self.devices[1].root())?];
        ensure!(trees[0] == trees[1], "{:?}", trees[0].differences(&trees[1]));
        let revision = self.devices[0].status()?["cursor"]["revision"].as_u64();
        let revision = revision.context("no cursor")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?; // ok: a moment to come back to
        let now = OffsetDateTime::from_unix_timestamp_nanos(i128::try_from(now.as_nanos())?)?;
        let [tree, _] = trees;
        self.moments.push(Moment { revision, time: now.format(&Rfc3339)?, tree });
        Ok(revision)
    }

    /// The text of the thesis after so many edits: a page that grows, changes and shrinks.
    fn text(&mut self, edit: usize) -> Vec<u8> {
        let lines = 1 + edit % 17 + self.random.below(5);
        let line = |number: usize| format!("line {number} of edit {edit}: {:x}\n", number * edit);
        (0..lines).map(line).collect::<String>().into_bytes()
    }

    fn work(&mut self) -> Result<()> {
        self.does(0, |root| {
            fs::create_dir_all(root.join("work/notes"))?;
            fs::create_dir(root.join("photos"))?;
            fs::write(root.join("work/notes/todo.txt"), "sleep\n")?;
            fs::write(root.join("photos/cat.raw"), vec![7; 300_000])?;
            std::os::unix::fs::symlink("../photos/cat.raw", root.join("work/cat"))?;
            Ok(())
        })?;
        let mut path = "work/thesis.txt".to_owned();
        for edit in 0..EDITS {
            let device = self.random.below(2);
            let (at, bytes) = (path.clone(), self.text(edit));
            let written = bytes.clone();
            let revision = self.does(device, |root| Ok(fs::write(root.join(&at), &written)?))?;
            self.edits.push((revision, bytes));
            // Between the edits the rest of the day goes on.
            match edit {
                9 => path = self.moves(&path, "work/dissertation.txt")?,
                19 => path = self.moves(&path, "photos/dissertation.txt")?,
                24 => drop(self.does(1, |root| Ok(fs::remove_file(root.join("work/cat"))?))?),
                29 => {
                    let _ =
                        self.does(0, |root| Ok(fs::rename(root.join("work"), root.join("old"))?))?;
                }
                34 => drop(self.does(1, |root| Ok(fs::remove_dir_all(root.join("old"))?))?),
                39 => path = self.moves(&path, "final.txt")?,
                44 => {
                    let before = self.moments[30].revision;
                    self.restores(0, "old", &before.to_string()).context("old/")?;
                }
                _ => {}
            }
        }
        self.does(1, |root| Ok(fs::remove_file(root.join("final.txt"))?))?;
        let (last, _) = *self.edits.last().context("no edits")?;
        self.restores(1, "final.txt", &last.to_string())?;
        Ok(())
    }

    fn moves(&mut self, from: &str, to: &str) -> Result<String> {
        self.does(0, |root| Ok(fs::rename(root.join(from), root.join(to))?))?;
        Ok(to.to_owned())
    }

    /// Brings a path back with the program, and lets both devices see it.
    fn restores(&mut self, device: usize, path: &str, at: &str) -> Result<u64> {
        let root = self.devices[device].root().join(path);
        let root = root.to_str().context("a path that is no UTF-8")?;
        let answer = self.devices[device].ask(&["restore", root, "--at", at])?;
        let answer = answer.success(&format!("restore {path} --at {at}"))?.json()?;
        ensure!(answer["complete"] == true, "{answer}");
        self.meet(device)
    }

    /// Every version is there, under the name that the file has at last, on both devices.
    fn read_again(&self) -> Result<()> {
        for device in &self.devices {
            let versions = device.versions("final.txt")?;
            for (edit, (revision, bytes)) in self.edits.iter().enumerate() {
                let told = versions.iter().find(|version| version.revision == *revision);
                let told = told.with_context(|| format!("edit {edit} is not in the log"))?;
                ensure!(told.size == bytes.len() as u64, "edit {edit} has {} bytes", told.size);
                let found = device.cat("final.txt", *revision)?;
                ensure!(found == *bytes, "edit {edit}, revision {revision}, is another");
            }
        }
        Ok(())
    }

    /// The folder is brought back to moments of the day, by revision and by time, in no order.
    fn live_again(&mut self) -> Result<()> {
        let lived = self.moments.len();
        for round in 0..MOMENTS {
            let moment = &self.moments[self.random.below(lived)];
            let at = if round % 2 == 0 { moment.revision.to_string() } else { moment.time.clone() };
            let then = moment.tree.clone();
            let beside = self.devices[0].home().with_file_name(format!("beside-{round}"));
            self.export(&at, &beside, &then).with_context(|| format!("--to, at {at}"))?;
            self.restores(round % 2, "", &at)?;
            let now = Tree::read(self.devices[0].root())?;
            ensure!(now == then, "at {at}: {:?}", now.differences(&then));
        }
        // What was undone by that is there too.
        self.restores(0, "", &self.moments[lived - 1].revision.to_string())?;
        let now = Tree::read(self.devices[1].root())?;
        let last = &self.moments[lived - 1].tree;
        ensure!(now == *last, "{:?}", now.differences(last));
        Ok(())
    }

    fn export(&self, at: &str, to: &Path, then: &Tree) -> Result<()> {
        let root = self.devices[1].root().to_str().context("a path that is no UTF-8")?;
        let dest = to.to_str().context("a path that is no UTF-8")?;
        self.devices[1]
            .ask(&["restore", root, "--at", at, "--to", dest])?
            .success("restore --to")?;
        let now = Tree::read(to)?;
        // A link outside has the time of its making.
        let files = |tree: &Tree| -> Vec<_> {
            let link = |mode: u32| mode == 0;
            let nodes = tree.nodes().map(|(path, node)| {
                let mtime_ns = if link(node.mode) { 0 } else { node.mtime_ns };
                (path.to_owned(), node.kind.clone(), node.mode, mtime_ns)
            });
            nodes.collect()
        };
        ensure!(files(&now) == files(then), "{:?}", now.differences(then));
        Ok(())
    }
}
