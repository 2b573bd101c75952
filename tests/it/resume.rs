//! Transfers that are cut in the middle go on where they were: what has arrived is not sent again.
//!
//! Each test counts the bytes that went over the link more than once. That may be what was under
//! way at the cut, and what a process that is killed had not noted yet, and never depends on how
//! much had arrived before.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::fs::memory::{Fault, Hook, OperationKind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::harness::{Random, SmallDisk, with_own_mounts};
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{CrashNow, SimDevice, Stop};
use tests::sim::network::Link;
use tests::sim::traffic::Count;
use tests::sim::world::{Make, World};

const MIB: u64 = 1024 * 1024;
/// Length of the file that is transferred, in bytes.
const FILE_BYTES: u64 = 24 * MIB;
/// So much has gone over the link when it is cut, in bytes.
const CUT_BYTES: u64 = 16 * MIB;
/// At most so much is under way: three requests of 4 MiB, each with one more chunk, and the pages.
const UNDER_WAY_BYTES: u64 = 3 * (4 * MIB + 256 * 1024) + MIB / 4;
/// A download is noted each time that so much has come; a process that is killed has no last word.
const NOTED_BYTES: u64 = 8 * MIB + 4 * MIB;
/// The same file for such a process: what is under way and not noted is less than half of it.
const LONG_FILE_BYTES: u64 = 40 * MIB;
const LONG_CUT_BYTES: u64 = 34 * MIB;
/// Room beside the file on a disk that is nearly full, in bytes.
const SPARE_BYTES: u64 = MIB;
/// Time for a device to find out what it is to do.
const SOON: Duration = Duration::from_secs(90);

/// Bytes that do not shrink.
fn bytes(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length / 8).flat_map(|_| random.bits().to_le_bytes()).collect()
}

struct Scene {
    world: World,
    one: Rc<SimDevice>,
    two: Rc<SimDevice>,
}

impl Scene {
    /// Two devices in sync, with nothing but what `seed` makes of their links.
    async fn new(seed: u64) -> Self {
        Self::new_with(seed, |_| ()).await
    }

    /// With a second device that is prepared before it starts.
    async fn new_with(seed: u64, prepare: impl FnOnce(&SimDevice)) -> Self {
        let world = World::new(Make { seed, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        prepare(&two);
        world.end_faults().await;
        let scene = Self { world, one, two };
        scene.settle().await;
        scene
    }

    async fn settle(&self) {
        assert!(self.world.settle().await, "{:#?}", self.world.ledger.tail());
    }

    /// The file is at the server, and the second device begins to download it.
    async fn with_a_file(seed: u64) -> Self {
        Self::with_files(seed, &[("file", FILE_BYTES)]).await
    }

    async fn with_files(seed: u64, files: &[(&str, u64)]) -> Self {
        let scene = Self::new(seed).await;
        scene.write(seed, files).await;
        scene
    }

    /// These files come to be at the server, and the second device begins to download them.
    async fn write(&self, seed: u64, files: &[(&str, u64)]) {
        self.two.link.set_up(false);
        for (number, (name, length)) in (0..).zip(files) {
            self.one.writer.write(name, &bytes(*length, seed + number));
        }
        soon().await;
        let all: u64 = files.iter().map(|(_, length)| length).sum();
        assert!(self.one.link.traffic().put.bytes_once() >= all);
        self.two.link.set_up(true);
    }

    /// Lets all come to rest; both devices hold the same, and nothing is left of a transfer.
    async fn end(&self) {
        self.settle().await;
        assert!(self.one.fs.user().tree() == self.two.fs.user().tree(), "not the same");
        assert_eq!(self.staged(), Vec::<String>::new());
        assert_eq!(self.world.ledger.violations(), Vec::<String>::new());
    }

    /// What the second device has in staging.
    fn staged(&self) -> Vec<String> {
        let private = self.two.fs.user().private_tree();
        private.into_keys().filter(|path| path.starts_with("staging/")).collect()
    }

    /// What the second device holds of its one download; empty if it is gone.
    fn staged_bytes(&self) -> Vec<u8> {
        let staged = self.staged();
        assert!(staged.len() <= 1, "{staged:?}");
        let name = staged.first().map(|name| format!(".driftless/{name}"));
        name.map(|name| self.two.fs.user().read(name).unwrap()).unwrap_or_default()
    }

    /// The second device's disk has room for so much more.
    fn leave_room(&self, bytes: u64) {
        let user = self.two.fs.user();
        let sizes = |paths: Vec<String>, under: &str| -> u64 {
            let stat = |path: &String| user.stat(format!("{under}{path}")).unwrap();
            let files = paths.iter().map(stat).filter(|stat| stat.kind == client::fs::Kind::File);
            files.map(|stat| stat.size).sum()
        };
        let private = user.private_tree().into_keys().collect();
        let used = sizes(user.tree().into_keys().collect(), "") + sizes(private, ".driftless/");
        self.two.fs.set_capacity(used + bytes);
    }
}

async fn soon() {
    tokio::time::sleep(SOON).await; // ok: virtual time
}

/// Waits until the middle of the file's transfer.
async fn middle(link: &Link, way: fn(&Link) -> Count) {
    until(link, way, CUT_BYTES).await;
    assert!(way(link).bytes_once() < FILE_BYTES, "it is through already");
}

/// Waits until so much has gone over the link.
async fn until(link: &Link, way: fn(&Link) -> Count, bytes: u64) {
    while way(link).bytes_once() < bytes {
        tokio::time::sleep(Duration::from_micros(200)).await; // ok: virtual time
    }
}

fn got(link: &Link) -> Count {
    link.traffic().got
}

fn put(link: &Link) -> Count {
    link.traffic().put
}

/// Checks how much went twice.
fn assert_resumed(what: &str, count: &Count, most_bytes: u64) {
    let again = count.bytes_again();
    println!("{what}: {} bytes, {again} of them again, at most {most_bytes}", count.bytes_once());
    assert!(again <= most_bytes, "{what}: {again} bytes were sent again");
}

#[test]
fn a_download_goes_on_after_its_connection_was_cut() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(1).await;
        middle(&scene.two.link, got).await;
        scene.two.link.cut();
        scene.end().await;
        assert_resumed("download, cut", &got(&scene.two.link), UNDER_WAY_BYTES);
    });
}

#[test]
fn a_download_goes_on_after_its_device_was_killed() {
    in_virtual_time(async {
        let scene = Scene::with_files(2, &[("file", LONG_FILE_BYTES)]).await;
        until(&scene.two.link, got, LONG_CUT_BYTES).await;
        scene.two.stop(Stop::Kill).await;
        scene.two.start().await;
        scene.end().await;
        let most = UNDER_WAY_BYTES + NOTED_BYTES;
        assert_resumed("download, killed", &got(&scene.two.link), most);
    });
}

/// What the disk has lost is fetched again, and nothing is believed that only seems to be there.
#[test]
fn a_download_goes_on_after_a_power_cut_with_what_the_disk_has_kept() {
    let mut least_lost_bytes = u64::MAX;
    for seed in 10..14 {
        in_virtual_time(async {
            let scene = Scene::with_files(seed, &[("file", LONG_FILE_BYTES)]).await;
            until(&scene.two.link, got, LONG_CUT_BYTES).await;
            scene.two.stop(Stop::Kill).await;
            let before = scene.staged_bytes();
            scene.two.stop(Stop::PowerCut).await;
            let after = scene.staged_bytes();
            let stand = before.iter().zip(&after).take_while(|(was, is)| was == is).count();
            let lost_bytes = (before.len() - stand) as u64;
            least_lost_bytes = least_lost_bytes.min(lost_bytes);
            scene.two.fs.set_hook(None);
            scene.two.start().await;
            scene.end().await;
            let what = format!("download, power cut {seed}, {lost_bytes} bytes lost");
            let most = UNDER_WAY_BYTES + NOTED_BYTES + lost_bytes;
            assert_resumed(&what, &got(&scene.two.link), most);
        });
    }
    assert!(least_lost_bytes < MIB, "no disk has kept what it had: nothing is shown");
}

/// The last that can be fetched again is what was not noted, even when all has arrived.
#[test]
fn a_download_whose_device_was_killed_while_it_synced_the_file_is_not_fetched_again() {
    in_virtual_time(async {
        let scene = Scene::new(14).await;
        scene.two.fs.set_hook(at_the_first_sync_of_a_staged_file(|| {
            std::panic::resume_unwind(Box::new(CrashNow(Stop::Kill)))
        }));
        scene.write(14, &[("file", LONG_FILE_BYTES)]).await;
        soon().await;
        assert!(!scene.two.is_running(), "it was not killed");
        assert!(got(&scene.two.link).bytes_once() >= LONG_FILE_BYTES);
        scene.two.start().await;
        scene.end().await;
        assert_resumed("download, killed at its end", &got(&scene.two.link), NOTED_BYTES);
    });
}

/// A file that went on where it was cut was finished and found no room at its place; then the server has
/// another version, whose download goes on in it.
#[test]
fn s8_half_a_download_in_what_was_about_to_be_put_in_place_is_no_file_of_a_user() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(16).await;
        middle(&scene.two.link, got).await;
        scene.two.stop(Stop::Kill).await;
        scene.two.fs.set_hook(Some(Arc::new(|_, operation| {
            let is_it = operation.kind == OperationKind::Rename
                && operation.path.to_string().starts_with(".driftless/staging/");
            is_it.then_some(Fault::NoSpace)
        })));
        scene.two.start().await;
        until(&scene.two.link, got, FILE_BYTES).await;
        assert_eq!(scene.staged().len(), 1, "it is finished and waits for room");
        let before = got(&scene.two.link).bytes_once();
        scene.one.writer.write("file", &bytes(FILE_BYTES, 99));
        until(&scene.two.link, got, before + CUT_BYTES).await;
        scene.two.fs.set_hook(None);
        scene.two.stop(Stop::Kill).await;
        scene.two.start().await;
        scene.end().await;
        assert_eq!(scene.two.fs.user().tree().len(), 1, "{:?}", scene.two.fs.user().paths());
    });
}

/// The system may have dropped what it could not write: nothing of it is gone on with.
#[test]
fn a_download_whose_file_could_not_be_synced_is_fetched_anew() {
    in_virtual_time(async {
        let scene = Scene::new(15).await;
        scene.two.fs.set_hook(at_the_first_sync_of_a_staged_file(|| Some(Fault::Io)));
        scene.write(15, &[("file", LONG_FILE_BYTES)]).await;
        scene.end().await;
        assert!(got(&scene.two.link).bytes_again() >= LONG_FILE_BYTES);
    });
}

/// Lets something happen once, when the engine makes a staged file durable.
fn at_the_first_sync_of_a_staged_file(
    act: impl Fn() -> Option<Fault> + Send + Sync + 'static,
) -> Option<Hook> {
    let over = AtomicBool::new(false);
    Some(Arc::new(move |_, operation| {
        let is_it = operation.kind == OperationKind::Sync
            && operation.path.to_string().starts_with(".driftless/staging/");
        if is_it && !over.swap(true, Ordering::Relaxed) { act() } else { None }
    }))
}

#[test]
fn an_upload_goes_on_after_its_connection_was_cut() {
    in_virtual_time(async {
        let scene = Scene::new(3).await;
        scene.one.writer.write("file", &bytes(FILE_BYTES, 3));
        middle(&scene.one.link, put).await;
        scene.one.link.cut();
        scene.end().await;
        assert_resumed("upload, cut", &put(&scene.one.link), UNDER_WAY_BYTES);
    });
}

#[test]
fn an_upload_goes_on_after_its_device_was_killed() {
    in_virtual_time(async {
        let scene = Scene::new(4).await;
        scene.one.writer.write("file", &bytes(FILE_BYTES, 4));
        middle(&scene.one.link, put).await;
        scene.one.stop(Stop::Kill).await;
        scene.one.start().await;
        scene.end().await;
        assert_resumed("upload, killed", &put(&scene.one.link), UNDER_WAY_BYTES);
    });
}

/// A batch is cut in its last file: those before it are whole.
#[test]
fn files_that_were_finished_before_a_cut_are_not_fetched_again() {
    let part = LONG_FILE_BYTES / 4;
    let files = [("1", part), ("2", part), ("3", part), ("4", part)];
    for how in [None, Some(Stop::Kill)] {
        in_virtual_time(async {
            let scene = Scene::with_files(50, &files).await;
            until(&scene.two.link, got, LONG_CUT_BYTES).await;
            let mut most = UNDER_WAY_BYTES;
            match how {
                None => scene.two.link.cut(),
                Some(how) => {
                    scene.two.stop(how).await;
                    scene.two.start().await;
                    most += NOTED_BYTES;
                }
            }
            scene.end().await;
            assert_resumed(&format!("batch, {how:?}"), &got(&scene.two.link), most);
        });
    }
}

#[test]
fn a_download_that_goes_on_needs_its_room_once() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(6).await;
        scene.leave_room(FILE_BYTES + SPARE_BYTES);
        middle(&scene.two.link, got).await;
        scene.two.link.cut();
        scene.end().await;
        assert_resumed("download, little room", &got(&scene.two.link), UNDER_WAY_BYTES);
    });
}

#[test]
fn what_has_arrived_of_one_version_serves_the_next() {
    in_virtual_time(async {
        let scene = Scene::with_files(7, &[("file", LONG_FILE_BYTES)]).await;
        until(&scene.two.link, got, LONG_CUT_BYTES).await;
        scene.two.link.set_up(false);
        for (length, seed) in [(LONG_FILE_BYTES - 3 * MIB, 70), (LONG_FILE_BYTES + 5 * MIB, 71)] {
            let mut edited = bytes(LONG_FILE_BYTES, 7);
            edited.resize(usize::try_from(length).unwrap(), 9);
            let from = edited.len() - 2_000_000;
            edited.truncate(from);
            edited.extend(bytes(2_000_000, seed));
            scene.one.writer.write("file", &edited);
            soon().await;
            scene.two.link.set_up(true);
            tokio::time::sleep(Duration::from_millis(30)).await; // ok: virtual time
            scene.two.link.cut();
        }
        scene.end().await;
        assert_resumed("download, edited", &got(&scene.two.link), 2 * UNDER_WAY_BYTES);
    });
}

/// What lacks room waits with what it has, and goes on when there is room.
#[test]
fn a_download_that_lacks_room_keeps_what_has_arrived() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(8).await;
        middle(&scene.two.link, got).await;
        scene.two.link.set_up(false);
        soon().await;
        scene.leave_room(SPARE_BYTES);
        scene.two.link.set_up(true);
        soon().await;
        assert_eq!(scene.staged().len(), 1);
        let issues = scene.two.handle().unwrap().summary().issues;
        assert!(issues.iter().any(|issue| issue.reason.contains("no space left")), "{issues:?}");
        scene.two.fs.set_capacity(u64::MAX);
        scene.end().await;
        assert_resumed("download, no room", &got(&scene.two.link), UNDER_WAY_BYTES);
    });
}

/// The disk fills up while a download is under way: what was noted of it stays.
#[test]
fn a_download_whose_disk_fills_up_keeps_what_was_noted() {
    in_virtual_time(async {
        let scene = Scene::with_files(30, &[("file", LONG_FILE_BYTES)]).await;
        until(&scene.two.link, got, LONG_CUT_BYTES).await;
        scene.leave_room(SPARE_BYTES);
        soon().await;
        assert_eq!(scene.staged().len(), 1);
        scene.two.fs.set_capacity(u64::MAX);
        scene.end().await;
        let most = UNDER_WAY_BYTES + NOTED_BYTES;
        assert_resumed("download, filled up", &got(&scene.two.link), most);
    });
}

/// What a download has kept is worth less than another file that the room is enough for.
#[test]
fn a_kept_download_gives_way_to_a_file_that_needs_its_room() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(9).await;
        middle(&scene.two.link, got).await;
        scene.two.link.set_up(false);
        let small = bytes(4 * MIB, 90);
        scene.one.writer.write("a small one", &small);
        soon().await;
        scene.leave_room(SPARE_BYTES);
        scene.two.link.set_up(true);
        soon().await;
        assert!(scene.two.fs.user().read("a small one").unwrap() == small);
        assert_eq!(scene.staged(), Vec::<String>::new());
        scene.two.fs.set_capacity(u64::MAX);
        scene.end().await;
    });
}

/// On a real disk a download takes the room that was reserved for it, however short it is yet.
#[test]
fn a_kept_download_gives_way_with_all_the_room_that_it_has_reserved() {
    let test = "a_kept_download_gives_way_with_all_the_room_that_it_has_reserved";
    with_own_mounts(test, || {
        let directory = tempfile::tempdir()?;
        let disk = SmallDisk::mount(&directory.path().join("disk"), 40)?;
        let root = directory.path().join("root");
        disk.place("root", &root)?;
        in_virtual_time(async {
            let scene = Scene::new_with(21, |two| two.put_on_disk(&root)).await;
            scene.write(21, &[("file", FILE_BYTES)]).await;
            until(&scene.two.link, got, CUT_BYTES).await;
            scene.two.link.set_up(false);
            // It cannot go on any more, and what has arrived of it is not enough for the other.
            scene.one.writer.write("file", &bytes(2 * FILE_BYTES, 21));
            let other = bytes(34 * MIB, 22);
            scene.one.writer.write("other", &other);
            soon().await;
            assert!(disk.free().unwrap() < 40 * MIB - FILE_BYTES, "nothing is reserved");
            scene.two.link.set_up(true);
            soon().await;
            assert!(std::fs::read(root.join("other")).unwrap() == other);
        });
        Ok(())
    });
}

/// Nobody waits for a version that was deleted: its bytes go when the house is kept.
#[test]
fn a_kept_download_that_nobody_wants_any_more_is_removed() {
    in_virtual_time(async {
        let scene = Scene::with_a_file(20).await;
        middle(&scene.two.link, got).await;
        scene.two.link.set_up(false);
        scene.one.writer.delete("file");
        soon().await;
        assert_eq!(scene.staged().len(), 1);
        scene.two.link.set_up(true);
        scene.end().await;
    });
}
