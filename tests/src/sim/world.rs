//! A server and its devices, and how they come to rest.
//!
//! Owns the assembled simulation and the end of all trouble. What happens before that end is the
//! story's.

use super::bundles::shown;
use super::clock::SimClock;
use super::device::{Disks, Own, Shared, SimDevice, Stop};
use super::draw::Draw;
use super::invariants;
use super::ledger::Ledger;
use super::merges::learn_merges;
use super::planted::Planted;
use super::restored::learn_restores;
use super::rogue::Rogue;
use super::server::{Account, SimServer, read_log};
use super::writer::Habits;
use client::engine::{Ask, FolderHandle, FolderStatus};
use common::chunk::open_name;
use common::ids::{EntryId, FolderId};
use common::keys::FolderKeys;
use common::record::{Change, Content, Place};
use common::revision::Cursor;
use server_core::metadata::JournalRow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Rounds of questions until the devices must agree.
const SYNCS_MAX: usize = 6;
/// How long one `sync` may take.
const SYNC_TIME_MAX: Duration = Duration::from_secs(300);
/// Until every late hint has come and every displaced file was reviewed.
const SETTLE_TIME: Duration = Duration::from_secs(135);

/// The assembled simulation.
pub struct World {
    /// The server.
    pub server: Arc<SimServer>,
    /// All devices.
    pub devices: Vec<Rc<SimDevice>>,
    /// The book of values.
    pub ledger: Ledger,
    /// Where everything random comes from.
    pub draw: Draw,
    account: Rc<RefCell<Account>>,
    planted: Option<Planted>,
    seed: u64,
    grain_ns: i64,
    habits: Habits,
    folding: Option<usize>,
    disks: Disks,
    /// How often a person has agreed to what waited.
    pub confirmations: Cell<u64>,
}

impl Drop for World {
    fn drop(&mut self) {
        // What watches a disk holds the disk.
        for device in &self.devices {
            device.fs.set_hook(None);
        }
    }
}

/// How a world is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Make {
    /// The seed of everything.
    pub seed: u64,
    /// Devices at the start.
    pub devices: usize,
    /// The grain of file times, in ns.
    pub grain_ns: i64,
    /// How users work.
    pub habits: Habits,
    /// The device whose disk takes names that differ in case or normalisation alone for one.
    pub folding: Option<usize>,
    /// Whether the server's chunks are on a disk that can fail.
    pub chunks_on_disk: bool,
    /// The bug to plant.
    pub planted: Option<Planted>,
    /// Whether to print each event at once.
    pub trace: bool,
}

impl World {
    /// A server, an account and devices, whose engines do not run yet. To be called inside a
    /// `LocalSet` of a runtime whose time is paused.
    pub async fn new(make: Make) -> Self {
        let draw = Draw::new(make.seed);
        let server = Arc::new(SimServer::new(SimClock::new(1), make.planted, make.chunks_on_disk));
        let account = Account::open(&server, make.seed).await;
        let ledger = Ledger::new(Arc::clone(&account.keys), account.folder, make.trace);
        let mut world = Self {
            server,
            devices: Vec::new(),
            ledger,
            draw,
            account: Rc::new(RefCell::new(account)),
            planted: make.planted,
            seed: make.seed,
            grain_ns: make.grain_ns,
            habits: make.habits,
            folding: make.folding,
            disks: Disks::default(),
            confirmations: Cell::new(0),
        };
        for number in 0..make.devices {
            world.add_device(number > 0, None).await;
        }
        world
    }

    /// A world without trouble, of so many devices that run, and these.
    pub async fn quiet<const DEVICES: usize>(seed: u64) -> (Self, [Rc<SimDevice>; DEVICES]) {
        let make = Make { seed, devices: DEVICES, grain_ns: 1, ..Make::default() };
        let world = Self::new(make).await;
        world.end_faults().await;
        let devices = std::array::from_fn(|number| Rc::clone(&world.devices[number]));
        (world, devices)
    }

    /// Waits until all devices have come to rest, as they must.
    ///
    /// # Panics
    /// When they do not.
    pub async fn settled(&self) {
        assert!(self.settle().await, "{:#?}", self.ledger.tail());
    }

    /// As [`World::settled`]; and all show the same, of which the history has everything.
    ///
    /// # Panics
    /// When a rule is broken.
    pub async fn settled_alike(&self) {
        self.settled().await;
        learn_merges(self);
        invariants::s4_convergence(self);
        invariants::s10_history_is_readable(self, false);
        assert_eq!(self.ledger.violations(), Vec::<String>::new());
    }

    /// Adds a device; `enrol` when it is not the account's first.
    #[allow(clippy::await_holding_refcell_ref, reason = "nothing else borrows while it enrols")]
    pub async fn add_device(&mut self, enrol: bool, invited: Option<Cursor>) -> Rc<SimDevice> {
        let number = self.devices.len();
        if enrol {
            let mut account = self.account.borrow_mut();
            account.enrol(&self.server, self.seed).await;
        }
        let shared = Shared {
            server: Arc::clone(&self.server),
            account: Rc::clone(&self.account),
            folder: self.folder(),
            keys: self.keys(),
            ledger: self.ledger.clone(),
            planted: self.planted,
            seed: self.seed,
            habits: self.habits,
            disks: Rc::clone(&self.disks),
        };
        let (clock, draw) = (SimClock::new(self.grain_ns), self.draw.fork());
        let folds = self.folding == Some(number);
        let device = SimDevice::new(&shared, Own { number, draw, clock, invited, folds });
        self.devices.push(Rc::new(device));
        Rc::clone(&self.devices[number])
    }

    /// Enrols a device that keeps no rule. It is the last one: [`World::devices`] does not count it.
    #[allow(clippy::await_holding_refcell_ref, reason = "nothing else borrows while it enrols")]
    pub async fn add_rogue(&self) -> Rogue {
        let mut account = self.account.borrow_mut();
        let number = account.enrol(&self.server, self.seed).await;
        let signer = account.signer(number);
        let log = read_log(&self.server.service(), signer.device()).await.unwrap();
        let folder = (account.folder, Arc::clone(&account.keys));
        Rogue::new(Arc::clone(&self.server), self.ledger.clone(), folder, signer, &log)
    }

    /// The folder that is synced.
    #[must_use]
    pub fn folder(&self) -> FolderId {
        self.account.borrow().folder
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> Arc<FolderKeys> {
        Arc::clone(&self.account.borrow().keys)
    }

    /// The server's whole journal.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalRow> {
        let folder = self.folder();
        let meta = self.server.meta();
        meta.read(|reads| reads.journal(&folder, 0, usize::MAX >> 1, usize::MAX >> 1)).unwrap()
    }

    /// Prints the journal with its names, for a person who looks for a bug.
    pub fn print_journal(&self) {
        let (keys, folder) = (self.keys(), self.folder());
        let named = |entry: &EntryId, place: &Place| {
            let name = open_name(&keys, &folder, entry, &place.name);
            name.map_or_else(|error| error.to_string(), |name| name.as_str().to_owned())
        };
        let value = |content: &Content| {
            let all = self.ledger.all();
            let found = all.iter().find(|(_, value)| value.tag == content.tag);
            found.map_or(0, |(_, value)| value.number)
        };
        let signers = self.account.borrow().signers();
        for row in self.journal() {
            let Ok(group) = row.entry.group.decode() else { continue };
            let author = signers.iter().position(|key| key.device() == group.device);
            for change in &group.changes {
                let text = match change {
                    Change::Create { entry, kind, place, content } => format!(
                        "create {kind:?} {entry} in {:?} as {} value {}",
                        place.parent,
                        named(entry, place),
                        value(content)
                    ),
                    Change::Edit { entry, base, content } => {
                        format!("edit {entry} base {base} value {}", value(content))
                    }
                    Change::Move { entry, base, place } => {
                        let name = named(entry, place);
                        format!("move {entry} base {base} to {:?} as {name}", place.parent)
                    }
                    other => format!("{other:?}"),
                };
                eprintln!(
                    "{} by {author:?} (seen {}): {text}",
                    row.entry.revision, group.seen_revision
                );
            }
        }
    }

    /// Restarts the server, after a power cut with what the seed keeps of what was not synced: all
    /// connections are lost. What was stored although nobody was told may be a merge or a restore:
    /// devices show it as soon as they are connected again, so the book hears of it first.
    pub fn restart_server(&self, power_cut: Option<u64>) {
        self.server.restart(power_cut);
        learn_merges(self);
        learn_restores(self);
        self.devices.iter().for_each(|device| device.link.cut());
        self.ledger.log(|| "server restarted".to_owned());
    }

    /// Ends all trouble and lets every device run.
    pub async fn end_faults(&self) {
        self.end_trouble().await;
        self.devices.iter().for_each(|device| device.mend());
        self.ledger.log(|| "faults stop".to_owned());
    }

    /// Ends all trouble but what was shut, and lets every device run.
    pub async fn end_trouble(&self) {
        if self.server.is_stopped() {
            self.restart_server(None);
        }
        self.server.mend();
        for device in &self.devices {
            device.trouble().acting.store(false, Ordering::Relaxed);
            device.link.set_loss(0);
            device.link.set_up(true);
            device.writer.close_all();
            device.start().await;
        }
    }

    /// Waits until all devices are idle and in sync, confirming what waits for a person. Says
    /// whether they came to rest.
    pub async fn settle(&self) -> bool {
        for device in &self.devices {
            device.steps.set(0);
        }
        tokio::time::sleep(SETTLE_TIME).await; // ok: virtual time
        let mut last = None;
        for _ in 0..SYNCS_MAX {
            if !self.ledger.violations().is_empty() {
                return false;
            }
            let mut all = true;
            for device in &self.devices {
                let Some(handle) = device.handle() else { return false };
                all &= self.sync(device.number, &handle).await;
            }
            let trees: Vec<_> = self.devices.iter().map(|d| shown(&d.fs.user())).collect();
            let now = Some((trees, self.server_revision()));
            if all && now == last {
                return true;
            }
            last = now;
        }
        let text = "S4: the devices do not come to rest".to_owned();
        self.ledger.violation(text);
        for device in &self.devices {
            if let Some(handle) = device.handle() {
                let summary = handle.summary();
                self.ledger.log(|| format!("device {}: {summary:?}", device.number));
                device.stop(Stop::Kill).await;
                device.show_dirty();
            }
        }
        false
    }

    async fn sync(&self, number: usize, handle: &FolderHandle) -> bool {
        let answer = tokio::time::timeout(SYNC_TIME_MAX, handle.ask(Ask::Sync)).await;
        let summary = handle.summary();
        self.ledger.log(|| {
            format!("device {number}: sync {answer:?}, {:?} {:?}", summary.status, summary.trouble)
        });
        if summary.status == FolderStatus::Halted {
            let halt = summary.halt.map(|halt| (halt.message, halt.can_confirm));
            self.ledger.log(|| format!("device {number}: halted: {halt:?}"));
            match halt {
                Some((_, true)) => {
                    self.confirmations.set(self.confirmations.get() + 1);
                    let confirmed = self.devices[number].confirm().await;
                    self.ledger.log(|| format!("device {number}: confirm {confirmed:?}"));
                }
                Some((message, false)) => {
                    self.ledger.violation(format!("device {number} is halted: {message}"));
                }
                None => {}
            }
            return false;
        }
        // What a folding disk cannot hold waits, and is listed.
        let folds = self.devices.get(number).is_some_and(|device| device.folds);
        matches!(answer, Ok(Ok(in_sync)) if in_sync || folds)
    }

    /// The devices whose disks tell all names apart: what they hold is the measure for others.
    pub fn plain_devices(&self) -> impl Iterator<Item = &Rc<SimDevice>> {
        self.devices.iter().filter(|device| !device.folds)
    }

    fn server_revision(&self) -> u64 {
        let folder = self.folder();
        let state = self.server.meta().read(|reads| reads.folder(&folder)).unwrap();
        state.map_or(0, |state| state.revision)
    }
}
