//! An honest device, one that is attacked, and a rogue, on one folder.
//!
//! Owns the course of such a play: all are in sync, then something hostile happens, and what is
//! asked afterwards is what the attacked device shows, says and still does.

use super::bundles::shown;
use super::clock::in_virtual_time;
use super::device::SimDevice;
use super::invariants;
use super::network::Hostile;
use super::rogue::Rogue;
use super::world::{Make, World};
use client::engine::{FolderStatus, FolderSummary};
use common::record::Change;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Long enough for several tries of everything.
const PATIENCE: Duration = Duration::from_secs(90);
/// The file that is there before anything hostile happens.
pub const BEFORE: &str = "before";

/// The play.
pub struct Scene {
    /// All of it.
    pub world: World,
    /// The device that writes what it should.
    pub honest: Rc<SimDevice>,
    /// The device that is attacked.
    pub victim: Rc<SimDevice>,
    /// The attacker.
    pub rogue: Rogue,
}

/// Plays.
pub fn play(act: impl AsyncFnOnce(&Scene)) {
    play_with(|_| (), act);
}

/// Plays with an attacked device that is prepared before it starts.
pub fn play_with(prepare: impl FnOnce(&SimDevice), act: impl AsyncFnOnce(&Scene)) {
    let make = Make { seed: 11, devices: 2, grain_ns: 1, ..Make::default() };
    in_virtual_time(async {
        let world = World::new(make).await;
        let rogue = world.add_rogue().await;
        let [honest, victim] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        prepare(&victim);
        world.end_faults().await;
        honest.writer.write(BEFORE, b"written before");
        let scene = Scene { world, honest, victim, rogue };
        assert!(scene.world.settle().await, "{:#?}", scene.world.ledger.tail());
        act(&scene).await;
        invariants::s3_no_phantom(&scene.world);
        assert_eq!(scene.world.ledger.violations(), Vec::<String>::new());
    });
}

impl Scene {
    /// Lets everybody do what they will do.
    pub async fn wait(&self) {
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
    }

    /// Puts a liar between the attacked device and the server.
    pub fn lie(&self, hostile: impl Hostile + 'static) {
        self.victim.link.set_hostile(Some(Arc::new(hostile)));
        self.victim.link.cut();
    }

    /// What the attacked device says.
    #[must_use]
    pub fn summary(&self) -> FolderSummary {
        self.victim.handle().unwrap().summary()
    }

    /// All paths on the attacked device's disk.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        shown(&self.victim.fs.user()).into_keys().collect()
    }

    /// The service takes the group, the folder lists these words among its issues, shows just these
    /// paths, and goes on.
    pub async fn is_an_issue(&self, changes: Vec<Change>, reason: &str, paths: &[&str]) {
        assert!(self.rogue.commit(changes).await.is_ok());
        self.wait().await;
        self.lists(reason);
        self.shows(paths);
        self.goes_on().await;
    }

    /// A lying server delivers the group: the folder halts with these words, and what is on the
    /// disk stays as it was.
    pub async fn is_an_alarm(&self, changes: Vec<Change>, reason: &str) {
        self.lie(self.rogue.past_the_service(vec![changes]));
        self.wait().await;
        self.halts(reason);
    }

    /// The folder is halted with these words, and its disk is as it was.
    pub fn halts(&self, reason: &str) {
        self.halts_with(&[BEFORE], reason);
    }

    /// The folder is halted with these words, and its disk has just these paths.
    pub fn halts_with(&self, paths: &[&str], reason: &str) {
        let summary = self.summary();
        assert_eq!(summary.status, FolderStatus::Halted, "{summary:?}");
        let halt = summary.halt.unwrap();
        assert!(halt.message.contains(reason), "{}", halt.message);
        assert!(!halt.can_confirm);
        self.shows(paths);
    }

    /// One issue has these words.
    pub fn lists(&self, reason: &str) {
        let summary = self.summary();
        let found = summary.issues.iter().any(|issue| issue.reason.contains(reason));
        assert!(found, "{summary:?}");
    }

    /// The attacked device's disk has just these paths.
    pub fn shows(&self, paths: &[&str]) {
        assert_eq!(self.paths(), paths, "{:?}", self.summary());
    }

    /// The folder still syncs, both ways, and comes to rest.
    pub async fn goes_on(&self) {
        let before = self.summary();
        assert!(before.halt.is_none() && before.trouble.is_none(), "{before:?}");
        self.honest.writer.write("zz down", b"written after, there");
        self.victim.writer.write("zz up", b"written after, here");
        self.wait().await;
        let read = |device: &SimDevice, path| device.fs.user().read(path).ok();
        assert_eq!(read(&self.victim, "zz down").as_deref(), Some(&b"written after, there"[..]));
        assert_eq!(read(&self.honest, "zz up").as_deref(), Some(&b"written after, here"[..]));
        self.rests().await;
    }

    /// The attacked device does not go round in circles when there is nothing to do.
    pub async fn rests(&self) {
        self.victim.steps.set(0);
        self.wait().await;
        let steps = self.victim.steps.get();
        assert!(steps < 200, "{steps} rounds with nothing to do: {:?}", self.summary());
    }
}
