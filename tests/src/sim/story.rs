//! The story of one seed: chaos, the end of all faults, agreement, and the rules.
//!
//! Owns what happens in which order. Which kinds of trouble a seed has is drawn from the seed too
//! (swarm testing: a seed without crashes finds other bugs than one with everything).

mod keeping;
mod kinds;
mod mishaps;
mod regrets;

use super::bundles::{shown, shown_private};
use keeping::Keeping;
pub use kinds::Kinds;
use mishaps::Mishaps;
use regrets::Regrets;

use super::clock::in_virtual_time;
use super::device::{SimDevice, Stop};
use super::invariants;
use super::ledger::{Fate, Print};
use super::merges;
use super::planted::Planted;
use super::report::Report;
use super::restored::learn_restores;
use super::world::{Make, World};
use super::writer::{Habits, Tree, contents};
use client::engine::Ask;
use common::trust::Checkpoint;
use common::wire::meta::{CheckpointPut, Request};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed of everything.
    pub seed: u64,
    /// Actions of the user in each of the two phases.
    pub actions: usize,
    /// The bug to plant.
    pub planted: Option<Planted>,
    /// Whether to print each event at once.
    pub trace: bool,
    /// A value to follow through all devices.
    pub follow: Option<u64>,
    /// Which trouble there may be; what is drawn from the seed otherwise.
    pub trouble: Option<Kinds>,
}

/// How a seed ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The seed.
    pub seed: u64,
    /// Broken rules.
    pub violations: Vec<String>,
    /// The last events.
    pub tail: Vec<String>,
    /// What was done.
    pub report: Report,
}

/// Runs a seed.
///
/// # Panics
/// When the runtime cannot be built.
#[must_use]
pub fn run(options: Options) -> Ending {
    in_virtual_time(tell(options))
}

async fn tell(options: Options) -> Ending {
    let kinds = options.trouble.unwrap_or_else(|| Kinds::draw(options.seed));
    let make = Make {
        seed: options.seed,
        devices: 3,
        grain_ns: if kinds.coarse { 4_000_000 } else { 1 },
        habits: Habits { hints_fail: kinds.hints, clashes: kinds.folding, texts: options.seed },
        folding: kinds.folding.then_some(2),
        chunks_on_disk: kinds.server_disk,
        planted: options.planted,
        trace: options.trace,
    };
    let world = World::new(make).await;
    world.ledger.log(|| format!("seed {} with {kinds:?}", options.seed));
    world.ledger.follow(options.follow);
    let mishaps = Mishaps::new(options.seed);
    let keeping = Keeping::new(options.seed);
    let (regrets, report) = (Regrets::new(options.seed), Report::default());
    let mut story = Story { world, kinds, report, mishaps, keeping, regrets };
    story.report.seeds = 1;
    story.tell(options.actions).await;
    story.finish(options.seed).await
}

struct Story {
    world: World,
    kinds: Kinds,
    report: Report,
    mishaps: Mishaps,
    keeping: Keeping,
    regrets: Regrets,
}

impl Story {
    async fn tell(&mut self, actions: usize) {
        self.world.end_faults().await;
        if !self.crowd().await {
            return;
        }
        self.begin_trouble(actions);
        self.chaos(actions).await;
        if !self.agree().await || !self.crowd().await {
            return;
        }
        let (gone, brought) = (self.gone(), self.world.ledger.brought_count());
        if self.kinds.late && !self.late_device().await {
            return;
        }
        self.begin_trouble(actions);
        let before = self.unsafe_for_deletes();
        self.chaos(actions).await;
        if !self.agree().await {
            return;
        }
        if self.unsafe_for_deletes() == before {
            let brought = self.world.ledger.brought_after(brought);
            let gone = gone.difference(&brought).copied().collect();
            invariants::s5_no_resurrection(&self.world, &gone);
        }
        if self.kinds.folding && self.tell_clashes_apart() {
            self.agree().await;
        }
    }

    /// Power cuts, lost databases, restored servers, and restores of which nobody heard more so far: each
    /// may bring back what was deleted.
    fn unsafe_for_deletes(&self) -> u64 {
        let cuts: u32 = self.world.devices.iter().map(|device| device.power_cuts.get()).sum();
        let unheard = self.regrets.unheard();
        u64::from(cuts) + self.report.databases_lost + self.report.restores + unheard
    }

    /// Values that no device holds any more.
    fn gone(&self) -> BTreeSet<Print> {
        let mut gone: BTreeSet<Print> =
            self.world.ledger.values(Fate::Deleted).into_iter().map(|(print, _)| print).collect();
        for device in &self.world.devices {
            for print in contents(&shown(&device.fs.user())).keys() {
                gone.remove(print);
            }
        }
        gone
    }

    /// What lies on disks, where users see it and aside, and what programs hold open.
    fn held(&self) -> BTreeSet<Print> {
        let mut held: BTreeSet<Print> = BTreeSet::new();
        for device in &self.world.devices {
            let user = device.fs.user();
            held.extend(contents(&shown(&user)).into_keys());
            held.extend(contents(&shown_private(&user)).into_keys());
            held.extend(device.writer.held());
        }
        held
    }

    fn begin_trouble(&mut self, actions: usize) {
        self.mishaps.begin(self.kinds, actions);
        for device in &self.world.devices {
            let trouble = device.trouble();
            let dial = |on: bool, value: u32| if on { value } else { 0 };
            let crashes = dial(self.kinds.kills || self.kinds.power, 60);
            trouble.faults_per_mille.store(dial(self.kinds.disk, 8), Ordering::Relaxed);
            trouble.acts_per_myriad.store(dial(self.kinds.interference, 60), Ordering::Relaxed);
            let bundles = dial(self.kinds.interference && self.kinds.bundles, 60);
            trouble.bundle_changes_per_myriad.store(bundles, Ordering::Relaxed);
            trouble.crashes_per_lakh.store(crashes, Ordering::Relaxed);
            trouble.power.store(self.kinds.power, Ordering::Relaxed);
            trouble.kills.store(self.kinds.kills, Ordering::Relaxed);
            trouble.acts_left.store(12, Ordering::Relaxed);
            trouble.failed_syncs_per_mille.store(dial(self.kinds.syncs, 60), Ordering::Relaxed);
            trouble.meddles_per_mille.store(dial(self.kinds.meddling, 60), Ordering::Relaxed);
            trouble.meddles_left.store(8, Ordering::Relaxed);
            device.steps.set(0);
            device.deletions.set_confirmed(false);
            trouble.acting.store(true, Ordering::Relaxed);
            device.link.set_loss(dial(self.kinds.network, 25));
        }
    }

    async fn chaos(&mut self, actions: usize) {
        let draw = self.world.draw.clone();
        for step in 0..actions {
            if !self.world.ledger.violations().is_empty() {
                return;
            }
            let device = Rc::clone(draw.pick(&self.world.devices).unwrap());
            device.writer.act();
            if self.kinds.texts {
                device.writer.edit_text();
            }
            if self.kinds.bundles {
                device.writer.change_bundle();
            }
            self.report.actions += 1;
            if draw.per_mille(120) {
                self.trouble(&device).await;
            }
            self.mishap(step);
            self.keep().await;
            self.regret();
            self.collect_garbage().await;
            let pause_ms = match draw.below(10) {
                0..4 => 0,
                4..8 => draw.below(120),
                _ => draw.below(1_500),
            };
            tokio::time::sleep(Duration::from_millis(pause_ms as u64)).await; // ok: virtual time
            for device in &self.world.devices {
                if draw.per_mille(300) {
                    device.start().await;
                }
            }
        }
    }

    /// Something happens to a machine.
    async fn trouble(&mut self, device: &SimDevice) {
        let (kinds, draw) = (self.kinds, self.world.draw.clone());
        match draw.below(9) {
            0 if kinds.kills => device.stop(Stop::Kill).await,
            1 if kinds.power => device.stop(Stop::PowerCut).await,
            2 if kinds.network => {
                device.link.cut();
                self.report.cuts += 1;
            }
            3 if kinds.network => {
                device.link.set_up(!device.link.is_up());
                self.report.cuts += 1;
            }
            4 if kinds.server => {
                self.world.restart_server(None);
                self.report.server_restarts += 1;
            }
            6 if kinds.database => {
                self.lose_database(device).await;
            }
            7 if kinds.clock => {
                let by = draw.below(7_200_000) as i64 - 3_600_000;
                device.clock.jump(by * 1_000_000);
                self.world.ledger.log(|| format!("device {}: clock {by} ms", device.number));
                self.report.clock_jumps += 1;
            }
            _ => {}
        }
    }

    async fn agree(&mut self) -> bool {
        if !self.world.ledger.violations().is_empty() {
            return false;
        }
        self.look_while_shut().await;
        self.world.end_faults().await;
        if !self.world.settle().await {
            return false;
        }
        merges::learn_merges(&self.world);
        learn_restores(&self.world);
        self.check_lost_databases();
        self.thin().await;
        let world = &self.world;
        invariants::s4_convergence(world);
        invariants::s1_no_lost_update(world);
        invariants::s2_deletions_are_of_what_was_seen(world);
        invariants::s3_no_phantom(world);
        invariants::s9_bytes_of_one_moment(world);
        invariants::s13_colliding_names(world);
        invariants::m1_commits_are_linearizable(world);
        invariants::m3_one_request_one_effect(world);
        invariants::m9_no_gaps(world);
        invariants::m9_cursors_have_no_gaps(world);
        invariants::m9_the_server_has_everything(world);
        invariants::s10_history_is_readable(world, self.kinds.thinning);
        if self.kinds.thinning {
            invariants::s10_whole_moments_are_whole(world);
        }
        invariants::s11_a_tree_stays_a_tree(world);
        // What a disk that folds names cannot hold stands where it stood.
        let folds = world.devices.iter().any(|device| device.folds);
        let tree = if folds { Tree::new() } else { shown(&world.devices[0].fs.user()) };
        world.ledger.agreed(&tree, self.held());
        self.note_agreement();
        self.world.ledger.violations().is_empty()
    }

    /// Another device joins by a snapshot at a checkpoint.
    async fn late_device(&mut self) -> bool {
        let Some(handle) = self.world.devices[0].handle() else { return false };
        let Ok(Some(bytes)) = handle.ask(Ask::Checkpoint).await else {
            self.world.ledger.violation("no checkpoint of a folder in sync".to_owned());
            return false;
        };
        let checkpoint = Checkpoint::open(&bytes).unwrap();
        let request = Request::CheckpointPut(CheckpointPut { checkpoint: bytes });
        let replies = self.world.server.service().request(checkpoint.device, request).await;
        self.world.ledger.log(|| format!("checkpoint: {replies:?}"));
        let device = self.world.add_device(true, Some(checkpoint.cursor)).await;
        self.world.ledger.log(|| format!("device {} joins", device.number));
        self.report.late_joins += 1;
        self.agree().await
    }

    async fn finish(mut self, seed: u64) -> Ending {
        let world = &self.world;
        if !world.ledger.violations().is_empty() {
            // The history needs no agreement, and others may have seen first what came of it.
            invariants::s9_bytes_of_one_moment(world);
        }
        let report = &mut self.report;
        for device in &world.devices {
            report.operations += device.fs.operations();
            report.power_cuts += u64::from(device.power_cuts.get());
            report.kills += u64::from(device.stops.get());
            report.lost_calls += u64::from(device.link.lost());
            let trouble = device.trouble();
            report.disk_faults += u64::from(trouble.faults.load(Ordering::Relaxed));
            report.failed_syncs += u64::from(trouble.failed_syncs.load(Ordering::Relaxed));
            report.meddles += u64::from(trouble.meddles.load(Ordering::Relaxed));
        }
        report.confirmations = world.confirmations.get();
        report.folding = u64::from(self.kinds.folding);
        report.kills = report.kills.saturating_sub(report.power_cuts);
        report.groups = world.ledger.accepted_groups();
        report.merges = world.ledger.merge_count();
        report.bundles = world.ledger.bundle_count();
        (report.asked_back, report.brought_back) = self.regrets.counts();
        report.second_lives = world.ledger.second_life_count();
        if let Some(handle) = world.devices[0].handle() {
            report.conflicts = handle.summary().conflicts;
        }
        for (_, value) in world.ledger.all() {
            report.written += 1;
            match value.fate {
                Fate::Alive => {}
                Fate::Superseded => report.superseded += 1,
                Fate::Deleted => report.deleted += 1,
                Fate::Excused(_) => report.excused += 1,
            }
        }
        if world.ledger.is_tracing() {
            world.print_journal();
        }
        let violations = world.ledger.violations();
        report.lost = violations.iter().filter(|text| text.starts_with("S1:")).count() as u64;
        for device in &world.devices {
            device.stop(Stop::Kill).await;
        }
        let tail = world.ledger.tail();
        Ending { seed, violations, tail, report: self.report }
    }
}
