//! One simulated device: a root in memory, the real engine, and its ends.
//!
//! Owns starting the engine and stopping it in the ways in which processes and machines stop. An
//! engine runs in one task, started by [`SimDevice::start`] and ended by [`SimDevice::stop`] or by a
//! crash out of its filesystem's hook. It must not know what the user does.

use super::bundles::{shown, shown_private};
use super::clock::{SimClock, SimEnvironment};
use super::draw::Draw;
use super::invariants::{CursorsHaveNoGaps, MassDeletionsWait, Watched};
use super::ledger::{Fate, Ledger, Print};
use super::network::{Link, SimRemote};
use super::pins::{SimLog, SimPins};
use super::planted::{Commits, Planted, PlantedFs};
use super::server::{Account, SimServer, read_log};
use super::trouble::{Hook, Trouble};
use super::writer::{Habits, Tree, Writer, contents};
use client::context::{FolderContext, Signers};
use client::engine::handle::{RestoreInfo, Which};
use client::engine::{
    self, Ask, AskError, Engine, EngineParts, FolderHandle, FolderSummary, HaltReason, Pins, Wake,
};
use client::fs::memory::user::{MemoryUser, UserEntry};
use client::fs::memory::{MemoryFs, MemoryOptions, RootState};
use client::fs::{Bundled, DiskFs, Fs, Root};
use client::state::FolderState;
use client::watch::{Hint, Hints};
use common::chunk::Chunker;
use common::ids::{DeviceId, FolderId};
use common::keys::FolderKeys;
use common::revision::Cursor;
use common::trust::DeviceLog;
use futures_util::FutureExt;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Steps of one engine after which it is taken for one that goes round in circles.
const STEPS_MAX: u64 = 2_500;
/// What a round costs at least.
const STEP_TIME: Duration = Duration::from_millis(1);
/// Longer than the machine's clock may be ahead of the simulation's: a hundred years.
const AGES_NS: i64 = 100 * 365 * 24 * 3600 * 1_000_000_000;
/// Hints that wait.
const HINTS_MAX: usize = 64;
/// Tells the hook's second generator from others of the seed.
const MORE: u64 = 0x6d6f_7265;

/// How a simulated machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The process goes; the disk stays as it is.
    Kill,
    /// The power goes: what was not synced is lost or torn.
    PowerCut,
}

/// What a hook throws to end the process in the middle of an operation.
pub struct CrashNow(pub Stop);

/// One device.
pub struct SimDevice {
    /// Counts devices from 0.
    pub number: usize,
    /// Whether names that differ in case or normalisation alone are one on its disk.
    pub folds: bool,
    /// Its disk.
    pub fs: MemoryFs,
    /// Its user.
    pub writer: Writer,
    /// Its way to the server.
    pub link: Link,
    /// Its clock.
    pub clock: SimClock,
    draw: Draw,
    ledger: Ledger,
    planted: Option<Planted>,
    server: Arc<SimServer>,
    account: Rc<RefCell<Account>>,
    pins: Arc<SimPins>,
    cursors: CursorsHaveNoGaps,
    invited: Option<Cursor>,
    disk: RefCell<Option<Arc<dyn Fs>>>,
    log: RefCell<Option<DeviceLog>>,
    state: Rc<RefCell<Option<FolderState>>>,
    running: RefCell<Option<Running>>,
    /// Planner rounds since the last reset.
    pub steps: Rc<Cell<u64>>,
    /// Crashes of either kind so far.
    pub stops: Rc<Cell<u32>>,
    /// Power cuts so far.
    pub power_cuts: Rc<Cell<u32>>,
    /// What it deletes in each round.
    pub deletions: MassDeletionsWait,
    trouble: Trouble,
    disks: Disks,
}

struct Running {
    handle: FolderHandle,
    hints: Hints,
    kill: watch::Sender<bool>,
    ended: Rc<Cell<bool>>,
}

/// What devices of one simulation share.
#[derive(Clone)]
pub struct Shared {
    /// The server.
    pub server: Arc<SimServer>,
    /// The user's account.
    pub account: Rc<RefCell<Account>>,
    /// The folder that is synced.
    pub folder: FolderId,
    /// Its keys.
    pub keys: Arc<FolderKeys>,
    /// The book of values.
    pub ledger: Ledger,
    /// The bug to plant.
    pub planted: Option<Planted>,
    /// The seed of everything.
    pub seed: u64,
    /// How users of all devices work.
    pub habits: Habits,
    /// The disks of all devices.
    pub disks: Disks,
}

/// The disks of all devices of a simulation, in their order.
pub type Disks = Rc<RefCell<Vec<MemoryUser>>>;

/// What one device has of its own.
pub struct Own {
    /// Counts devices from 0.
    pub number: usize,
    /// Where its random things come from.
    pub draw: Draw,
    /// Its clock.
    pub clock: SimClock,
    /// Where it joins, if not at the beginning.
    pub invited: Option<Cursor>,
    /// Whether names that differ in case or normalisation alone are one on its disk.
    pub folds: bool,
}

impl SimDevice {
    /// A device with an empty root; its engine does not run yet.
    #[must_use]
    pub fn new(shared: &Shared, own: Own) -> Self {
        let Own { number, draw, clock, invited, folds } = own;
        let stamps = clock.clone();
        let options = MemoryOptions { case_insensitive: folds, ..MemoryOptions::default() };
        let fs = MemoryFs::with_options(Arc::new(move || stamps.stamp_ns()), options);
        fs.init_root(&marker(number)).unwrap();
        shared.disks.borrow_mut().push(fs.user());
        let writer =
            Writer::new(number, fs.user(), shared.ledger.clone(), draw.fork(), shared.habits);
        let cursors = CursorsHaveNoGaps::new(number, shared.ledger.clone());
        let pins = Arc::new(SimPins { newest: Mutex::default(), cursors: cursors.clone() });
        let deletions = MassDeletionsWait::new(Watched {
            device: number,
            user: fs.user(),
            pins: Arc::clone(&pins) as Arc<dyn Pins>,
            server: Arc::clone(&shared.server),
            folder: shared.folder,
            keys: Arc::clone(&shared.keys),
            ledger: shared.ledger.clone(),
        });
        let device = Self {
            number,
            folds,
            fs,
            writer,
            link: Link::new(draw.fork(), 20),
            clock,
            draw,
            ledger: shared.ledger.clone(),
            planted: shared.planted,
            server: Arc::clone(&shared.server),
            account: Rc::clone(&shared.account),
            pins,
            cursors,
            invited,
            disk: RefCell::default(),
            log: RefCell::default(),
            state: Rc::default(),
            running: RefCell::default(),
            steps: Rc::default(),
            stops: Rc::default(),
            power_cuts: Rc::default(),
            deletions,
            trouble: Trouble::default(),
            disks: Rc::clone(&shared.disks),
        };
        let more = Draw::new(shared.seed ^ MORE ^ (number as u64) << 32);
        let (writer, trouble) = (device.writer.clone(), device.trouble.clone());
        let (draw, deletions) = (device.draw.fork(), device.deletions.clone());
        let hook = Hook::new(number, writer, draw, more, trouble, deletions, &device.ledger);
        device.fs.set_hook(Some(Arc::new(move |user, operation| hook.before(user, operation))));
        device
    }

    /// Gives it a root on a real disk instead of the one in memory, which then stays empty. To be
    /// called before it starts.
    pub fn put_on_disk(&self, root: &std::path::Path) {
        let fs = DiskFs::open(root).unwrap();
        fs.init_root(&marker(self.number)).unwrap();
        self.disk.replace(Some(Arc::new(fs)));
        // What the machine stamps on files is long ago for this device, as it is for others.
        self.clock.jump(AGES_NS);
    }

    /// Where it stands in the journal.
    #[must_use]
    pub fn pinned(&self) -> Option<Cursor> {
        *self.pins.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.account.borrow().signer(self.number).device()
    }

    /// The dials of its misbehaviour.
    #[must_use]
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Starts the engine, unless it runs.
    pub async fn start(&self) {
        if self.is_running() {
            return;
        }
        let state = self.state.borrow_mut().take();
        let state = state.unwrap_or_else(|| FolderState::open_in_memory().unwrap());
        let hints = Hints::new(HINTS_MAX);
        hints.push(Hint::Everything);
        let parts = self.parts(state, hints.clone()).await;
        let (engine, handle) = engine::assemble(parts).unwrap();
        let (kill, killed) = watch::channel(false);
        let ended = Rc::new(Cell::new(false));
        let end = End {
            number: self.number,
            kept: Rc::clone(&self.state),
            ended: Rc::clone(&ended),
            steps: Rc::clone(&self.steps),
            stops: Rc::clone(&self.stops),
            power: self.power(),
            ledger: self.ledger.clone(),
            summary: handle.watch(),
            deletions: self.deletions.clone(),
        };
        if self.planted == Some(Planted::ConfirmedByNobody) {
            drop(tokio::task::spawn_local(confirm_at_once(handle.clone())));
        }
        drop(tokio::task::spawn_local(drive(engine, killed, end)));
        self.writer.set_hints(Some(hints.clone()));
        self.running.replace(Some(Running { handle, hints, kill, ended }));
    }

    async fn parts(&self, state: FolderState, hints: Hints) -> EngineParts {
        let (folder, keys, signer) = {
            let account = self.account.borrow();
            (account.folder, Arc::clone(&account.keys), account.signer(self.number))
        };
        let device = signer.device();
        // A device keeps what it has read: the server may have stopped.
        let log =
            read_log(&self.server.service(), device).await.or_else(|| self.log.borrow().clone());
        self.log.replace(log.clone());
        let log = log.unwrap();
        let fs: Arc<dyn Fs> = match (self.disk.borrow().clone(), self.planted) {
            (Some(disk), _) => disk,
            (None, Some(planted)) => Arc::new(PlantedFs::new(self.fs.clone(), planted)),
            (None, None) => Arc::new(self.fs.clone()),
        };
        let commits = Commits::new(self.planted, self.account.borrow().signer(self.number));
        let remote = SimRemote {
            device,
            link: self.link.clone(),
            server: Arc::clone(&self.server),
            ledger: self.ledger.clone(),
            commits,
            deletions: Some(self.deletions.clone()),
            cursors: self.cursors.clone(),
        };
        let environment = SimEnvironment { clock: self.clock.clone(), draw: self.draw.fork() };
        let bundles = Arc::new(Bundled::new(fs));
        let context = FolderContext {
            folder,
            chunker: Chunker::new(keys.chunker_seed()),
            keys,
            user: log.user(),
            signer,
            device_name: format!("device{}", self.number),
            signers: Signers::new(log),
            marker: marker(self.number),
            fs: Arc::clone(&bundles) as Arc<dyn Fs>,
            bundles,
            remote: Arc::new(remote),
            state,
            environment: Arc::new(environment),
        };
        let log = Arc::new(SimLog { server: Arc::clone(&self.server), device });
        let pins: Arc<dyn Pins> = Arc::clone(&self.pins) as Arc<dyn Pins>;
        EngineParts { context, hints, pins, log, invited: self.invited, paused: false }
    }

    /// Stops the engine at the point where it is, and waits until it has.
    pub async fn stop(&self, how: Stop) {
        if let Some(running) = self.running.take()
            && !running.ended.get()
        {
            running.kill.send_replace(true);
            while !running.ended.get() {
                tokio::task::yield_now().await;
            }
            self.stops.set(self.stops.get() + 1);
        }
        self.writer.set_hints(None);
        if how == Stop::PowerCut {
            self.power().cut();
        }
    }

    /// Whether the engine runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.borrow().as_ref().is_some_and(|running| !running.ended.get())
    }

    /// The engine's handle, while it runs.
    #[must_use]
    pub fn handle(&self) -> Option<FolderHandle> {
        let running = self.running.borrow();
        running.as_ref().filter(|running| !running.ended.get()).map(|r| r.handle.clone())
    }

    /// A person agrees to what waits. Only while the engine runs.
    ///
    /// # Errors
    /// When nothing waits.
    pub async fn confirm(&self) -> Result<(), AskError> {
        self.deletions.set_confirmed(true);
        self.handle().unwrap().ask(Ask::Confirm).await
    }

    /// A person asks for what was, whatever goes for it. Only while the engine runs.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn restore(&self, path: &str, which: Which) -> Result<RestoreInfo, AskError> {
        self.deletions.set_confirmed(true);
        let path = path.to_owned();
        self.handle().unwrap().ask(|answer| Ask::Restore(path, which, false, answer)).await
    }

    /// Ends all that its disk refuses, and tells the watcher.
    pub fn mend(&self) {
        self.fs.set_root_state(RootState::Present);
        self.fs.user().make_all_readable();
        self.hint(Hint::Everything);
    }

    /// Tells the watcher's listener something.
    pub fn hint(&self, hint: Hint) {
        if let Some(running) = self.running.borrow().as_ref() {
            running.hints.push(hint);
        }
    }

    /// Logs what the stopped engine had before it.
    pub fn show_dirty(&self) {
        if let Some(state) = self.state.borrow().as_ref() {
            show(&self.ledger, &self.fs, state);
        }
    }

    /// Loses the state database (S12). Only while the engine does not run.
    pub fn lose_state(&self) {
        self.state.replace(None);
        if self.planted == Some(Planted::RootOfLostDatabaseEmptied) {
            let user = self.fs.user();
            let gone = shown(&user).into_keys().filter(|path| !path.contains('/'));
            gone.for_each(|path| user.remove_all(path).unwrap());
        }
        self.ledger.log(|| format!("device {}: database lost", self.number));
    }

    fn power(&self) -> Power {
        Power {
            number: self.number,
            fs: self.fs.clone(),
            writer: self.writer.clone(),
            ledger: self.ledger.clone(),
            draw: self.draw.clone(),
            cuts: Rc::clone(&self.power_cuts),
            disks: Rc::clone(&self.disks),
        }
    }
}

fn marker(number: usize) -> Vec<u8> {
    format!("device {number}").into_bytes()
}

/// A power cut and its accounting.
struct Power {
    number: usize,
    fs: MemoryFs,
    writer: Writer,
    ledger: Ledger,
    draw: Draw,
    cuts: Rc<Cell<u32>>,
    disks: Disks,
}

impl Power {
    /// What other devices show.
    fn shown_elsewhere(&self) -> BTreeSet<Print> {
        let disks = self.disks.borrow();
        let others = disks.iter().enumerate().filter(|(number, _)| *number != self.number);
        others.flat_map(|(_, user)| contents(&shown(user)).into_keys()).collect()
    }

    /// The times of files that hold what was never synced.
    fn unsynced(&self, tree: &Tree) -> BTreeMap<String, i64> {
        let user = self.fs.user();
        let paths = tree.keys().filter(|path| !user.is_durable(path).unwrap_or(true));
        paths.filter_map(|path| Some((path.clone(), user.stat(path).ok()?.mtime_ns))).collect()
    }

    fn cut(&self) {
        let user = self.fs.user();
        let all = || {
            let mut tree = shown(&user);
            tree.extend(shown_private(&user).into_iter().map(|(p, e)| (format!("\0{p}"), e)));
            tree
        };
        let outside = |mut tree: Tree| {
            tree.retain(|path, _| !path.starts_with("\0staging/"));
            contents(&tree)
        };
        let was_outside = outside(all());
        let mut before: BTreeSet<Print> = contents(&all()).into_keys().collect();
        before.extend(self.writer.held());
        self.writer.close_all();
        let before_cut = shown(&user);
        let unsynced = self.unsynced(&before_cut);
        self.fs.crash(self.draw.number());
        self.ledger.changed(self.number, &before_cut, &shown(&user));
        let tree_after = all();
        let after = contents(&tree_after);
        self.ledger.hollow(&tree_after);
        let elsewhere = self.shown_elsewhere();
        // Kept by luck, and with the times of what it replaced nobody can tell without reading it.
        let timeless = |path: &String| {
            user.stat(path)
                .is_ok_and(|stat| unsynced.get(path).is_some_and(|at| *at != stat.mtime_ns))
        };
        for (print, _) in after.iter().filter(|(_, path)| timeless(path)) {
            self.ledger.lost_its_time(*print);
        }
        // Where the name of a file was not durable yet, what was written to it was not either: on the
        // filesystems that there are a sync of a file takes its name along.
        let found = outside(tree_after.clone());
        let is_back = |print: &Print| after.contains_key(print) && !was_outside.contains_key(print);
        let is_gone = |print: &Print| {
            !(found.contains_key(print) || is_back(print)) || self.ledger.has_lost_its_time(print)
        };
        for print in before.iter().filter(|print| is_gone(print)) {
            let Some(value) = self.ledger.value(print) else { continue };
            // What the server had accepted before it was restored stays where others have it.
            if !self.ledger.is_accepted(&value.tag) && !elsewhere.contains(print) {
                self.ledger.settle(print, Fate::Excused("power cut"));
            }
        }
        for (_, path) in after.iter().filter(|(print, _)| !before.contains(*print)) {
            let Some(UserEntry::File(bytes, _)) = tree_after.get(path) else { continue };
            self.ledger.torn(bytes);
        }
        self.cuts.set(self.cuts.get() + 1);
        self.ledger.log(|| format!("device {}: power cut", self.number));
    }
}

/// What is left to do when an engine ends.
struct End {
    number: usize,
    kept: Rc<RefCell<Option<FolderState>>>,
    ended: Rc<Cell<bool>>,
    steps: Rc<Cell<u64>>,
    stops: Rc<Cell<u32>>,
    power: Power,
    ledger: Ledger,
    summary: watch::Receiver<FolderSummary>,
    deletions: MassDeletionsWait,
}

/// Agrees to everything, as only a person may.
async fn confirm_at_once(handle: FolderHandle) {
    let mut summaries = handle.watch();
    while summaries.changed().await.is_ok() {
        let can_confirm = |halt: &HaltReason| halt.can_confirm;
        if summaries.borrow_and_update().halt.as_ref().is_some_and(can_confirm) {
            drop(handle.ask(Ask::Confirm).await);
        }
    }
}

/// Logs what an engine has before it that it cannot bring to an end.
fn show(ledger: &Ledger, fs: &MemoryFs, state: &FolderState) {
    let paths: Vec<String> = shown(&fs.user()).into_keys().collect();
    ledger.log(|| format!("  disk: {paths:?}"));
    for entry in state.dirty(8).unwrap() {
        let local = state.local_row(&entry).unwrap();
        let remote = state.remote_row(&entry).unwrap();
        let synced = state.synced_node(&entry).unwrap();
        let there = remote.as_ref().and_then(|row| {
            let at = state.local_row_at(&row.node.position).unwrap()?;
            Some(format!("{at:?} synced {:?}", state.synced_node(&at.entry).unwrap()))
        });
        let parent =
            remote.as_ref().and_then(|row| state.local_row(&row.node.position.parent).unwrap());
        ledger.log(|| format!("  {entry}:\n   local {local:?}\n   remote {remote:?}"));
        ledger.log(|| {
            format!("   synced {synced:?}\n   at its place: {there:?}\n   parent {parent:?}")
        });
    }
}

/// Runs an engine until it is killed or crashes.
async fn drive(mut engine: Engine, mut killed: watch::Receiver<bool>, end: End) {
    let crash = loop {
        end.steps.set(end.steps.get() + 1);
        end.deletions.begin_round();
        if end.steps.get() > STEPS_MAX {
            let number = end.number;
            end.ledger.violation(format!("device {number}: its engine goes round in circles"));
            let state = engine.into_state();
            let summary = end.summary.borrow().clone();
            end.ledger.log(|| format!("device {number}: {summary:?}"));
            show(&end.ledger, &end.power.fs, &state);
            end.kept.replace(Some(state));
            end.ended.set(true);
            return;
        }
        let round = AssertUnwindSafe(async {
            engine.step().await;
            // Work takes time: without this, time would stand still while somebody is busy.
            tokio::time::sleep(STEP_TIME).await; // ok: virtual time
            engine.wait().await
        });
        let outcome = tokio::select! {
            biased;
            _ = killed.changed() => break None,
            outcome = round.catch_unwind() => outcome,
        };
        match outcome {
            Ok(Wake::Work) => {}
            Ok(Wake::Stop) => break None,
            Err(thrown) => break crash_of(&end, thrown.as_ref()),
        }
    };
    end.kept.replace(Some(engine.into_state()));
    end.ledger.killed(end.number);
    if let Some(how) = crash {
        end.stops.set(end.stops.get() + 1);
        if how == Stop::PowerCut {
            end.power.cut();
        }
    }
    end.ended.set(true);
}

fn crash_of(end: &End, thrown: &(dyn Any + Send)) -> Option<Stop> {
    if let Some(CrashNow(how)) = thrown.downcast_ref::<CrashNow>() {
        return Some(*how);
    }
    let text = thrown
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| thrown.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default();
    end.ledger.violation(format!("device {}: its engine panicked: {text}", end.number));
    None
}
