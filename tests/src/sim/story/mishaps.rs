//! Mishaps that were added to the stories later: a disk whose directories shut or whose root is gone,
//! a server whose syncs fail, a restore from an older backup.
//!
//! Owns when they happen, drawn from a generator of their own, so that they change nothing of what
//! the story draws.

use super::super::bundles::shown;
use super::super::device::{SimDevice, Stop};
use super::super::draw::Draw;
use super::super::invariants::{self, Hidden, LostDatabase};
use super::super::ledger::{Fate, Print, print};
use super::super::restored::learn_restores;
use super::super::server::{Backup, ServerFault};
use super::{Kinds, Story};
use client::fs::memory::RootState;
use client::fs::memory::user::UserEntry;
use common::ids::ContentTag;
use server::meta_store::FailedSync;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// What is still to come in this phase.
pub(super) struct Mishaps {
    draw: Draw,
    /// At which steps the server is backed up and restored.
    restore: Option<(usize, usize)>,
    /// The backup, what the server had accepted then, and what lived again.
    backup: Option<(Backup, BTreeSet<ContentTag>, BTreeSet<Print>)>,
    /// What could not be seen any more when something was shut.
    hidden: Vec<Hidden>,
    /// What was brought back after the backup to which the server went: to it that is gone, whoever has it.
    forgotten: BTreeSet<Print>,
    /// Databases lost since the devices last agreed.
    lost: Vec<LostDatabase>,
    /// At which step most of a device's files vanish.
    purge: Option<usize>,
    purges: Draw,
    crowds: u32,
    /// When garbage is collected, and with which grace.
    collections: Draw,
}

/// Files of a crowd: more than whatever else there is in a folder.
const CROWD: usize = 36;
/// Until every device has heard of what others take for deleted.
const SHUT_TIME: Duration = Duration::from_secs(60);

impl Mishaps {
    pub(super) fn new(seed: u64) -> Self {
        let draw = Draw::new(seed ^ 0x0bad_1dea);
        let purges = Draw::new(seed ^ 0x0bad_1dea_0bad_1dea);
        let (hidden, forgotten, lost) = (Vec::new(), BTreeSet::new(), Vec::new());
        let collections = Draw::new(seed ^ 0x0000_9a6b_a9e0);
        let (restore, backup, purge, crowds) = (None, None, None, 0);
        Self { draw, restore, backup, hidden, forgotten, lost, purge, purges, crowds, collections }
    }

    /// Draws a phase. A restore never goes back to an earlier one: a device may have been enrolled
    /// since, and enrolments are repeated by the account, which is no part of this simulation.
    pub(super) fn begin(&mut self, kinds: Kinds, actions: usize) {
        self.backup = None;
        self.forgotten.clear();
        self.restore = kinds.restore.then(|| {
            let back_up = self.draw.below(actions / 2);
            (back_up, back_up + 1 + self.draw.below(actions - back_up - 1))
        });
        self.purge = kinds.purge.then(|| self.purges.below(actions));
    }
}

impl Story {
    /// What else happens after a step.
    pub(super) fn mishap(&mut self, step: usize) {
        let draw = self.mishaps.draw.clone();
        match self.mishaps.restore {
            Some((at, _)) if at == step => self.back_up(),
            Some((_, at)) if at == step => self.restore(),
            _ => {}
        }
        if self.mishaps.purge == Some(step) {
            self.purge();
        }
        let Some(device) = draw.pick(&self.world.devices).map(Rc::clone) else { return };
        if self.kinds.shut && draw.per_mille(180) {
            self.shut(&device, &draw);
        }
        if self.kinds.unmounted && draw.per_mille(60) {
            self.unmount(&device, &draw);
        }
        if (self.kinds.shut || self.kinds.unmounted) && draw.per_mille(120) {
            device.mend();
        }
        if self.kinds.server_disk && draw.per_mille(100) {
            self.fail_server(&draw);
        }
        if self.world.server.is_stopped() && draw.per_mille(350) {
            let power_cut = draw.per_mille(500).then(|| draw.number());
            self.world.restart_server(power_cut);
            self.report.server_stops += 1;
        }
    }

    /// Collects garbage now and then, unless there is a backup that is to be put back: what it needs
    /// is not known to this server.
    pub(super) async fn collect_garbage(&mut self) {
        let draw = self.mishaps.collections.clone();
        if !self.kinds.gc || self.mishaps.backup.is_some() || !draw.per_mille(250) {
            return;
        }
        let grace_ms = [0, 0, 2_000][draw.below(3)];
        match self.world.server.collect(grace_ms).await {
            Ok(report) => {
                self.report.collections += 1;
                self.report.collected += report.purged.chunks;
                let text = format!("garbage collected: {report:?}");
                self.world.ledger.log(|| text);
            }
            Err(error) => self.world.ledger.log(|| format!("garbage not collected: {error}")),
        }
    }

    /// The root is not mounted until it is mended.
    fn unmount(&mut self, device: &SimDevice, draw: &Draw) {
        let state = if draw.per_mille(500) { RootState::Empty } else { RootState::Gone };
        device.fs.set_root_state(state);
        self.world.ledger.log(|| format!("device {}: its root is {state:?}", device.number));
        self.report.shut += 1;
        self.note_hidden(device, None);
    }

    /// Notes what lies below a path, or below the root, of a device that cannot look there any more.
    /// What no other device shows at the same path has perhaps come there unseen, and is left out.
    fn note_hidden(&mut self, device: &SimDevice, below: Option<&str>) {
        let is_below = |path: &str| {
            below.is_none_or(|top| path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
        };
        let others = self.world.devices.iter().filter(|other| other.number != device.number);
        let others: Vec<_> = others.map(|other| shown(&other.fs.user())).collect();
        for (path, entry) in shown(&device.fs.user()).iter().filter(|(path, _)| is_below(path)) {
            if let UserEntry::File(bytes, _) = entry
                && others.iter().any(|tree| tree.get(path) == Some(entry))
            {
                let (device, path, print) = (device.number, path.clone(), print(bytes));
                self.mishaps.hidden.push(Hidden { device, path, print });
            }
        }
    }

    /// While disks are still shut: waits until all devices have heard of each other, and checks that
    /// nothing was deleted for it.
    pub(super) async fn look_while_shut(&mut self) {
        if self.mishaps.hidden.is_empty() {
            return;
        }
        self.world.end_trouble().await;
        tokio::time::sleep(SHUT_TIME).await; // ok: virtual time
        learn_restores(&self.world);
        let forgotten = &self.mishaps.forgotten;
        self.mishaps.hidden.retain(|hidden| !forgotten.contains(&hidden.print));
        invariants::s7_absence_is_not_deletion(&self.world, &self.mishaps.hidden);
        self.mishaps.hidden.clear();
    }

    /// A directory cannot be entered any more until it is mended.
    fn shut(&mut self, device: &SimDevice, draw: &Draw) {
        let number = device.number;
        let user = device.fs.user();
        let tree = shown(&user);
        let directories = tree.iter().filter(|(_, entry)| matches!(entry, UserEntry::Directory(_)));
        let directories: Vec<&String> = directories.map(|(path, _)| path).collect();
        if let Some(path) = draw.pick(&directories) {
            self.note_hidden(device, Some(path.as_str()));
            user.set_unreadable(path.as_str(), true).unwrap();
            self.report.shut += 1;
            self.world.ledger.log(|| format!("device {number}: {path} cannot be entered"));
            // Somebody looks there: a hint comes from anywhere.
            device.hint(client::watch::Hint::Everything);
        }
    }

    /// Many files are made, so that there is a mass to vanish, and all devices have them.
    pub(super) async fn crowd(&mut self) -> bool {
        if !self.kinds.purge {
            return true;
        }
        let Some(device) = self.mishaps.purges.pick(&self.world.devices).map(Rc::clone) else {
            return false;
        };
        self.mishaps.crowds += 1;
        let directory = format!("crowd {}", self.mishaps.crowds);
        device.writer.make_directory(&directory);
        for number in 0..CROWD {
            device.writer.write_new(&format!("{directory}/{number}"));
        }
        self.agree().await
    }

    /// Most of what a device has vanishes at once, or becomes empty.
    fn purge(&mut self) {
        let purges = self.mishaps.purges.clone();
        let Some(device) = purges.pick(&self.world.devices).map(Rc::clone) else { return };
        let tree = shown(&device.fs.user());
        let is_empty =
            |entry: &UserEntry| matches!(entry, UserEntry::File(bytes, _) if bytes.is_empty());
        let files = tree.iter().filter(|(_, entry)| matches!(entry, UserEntry::File(..)));
        let files: Vec<&String> =
            files.filter(|(_, entry)| !is_empty(entry)).map(|(path, _)| path).collect();
        let tops = || tree.keys().filter(|path| !path.contains('/'));
        match purges.below(3) {
            0 => device.writer.action("empty everything", "", |user| {
                files.iter().try_for_each(|path| user.write(path.as_str(), b""))
            }),
            1 => device.writer.action("delete all files", "", |user| {
                files.iter().try_for_each(|path| user.remove(path.as_str()))
            }),
            _ => device.writer.action("delete everything", "", |user| {
                tops().try_for_each(|path| user.remove_all(path.as_str()))
            }),
        }
        self.report.purges += 1;
    }

    /// A device loses its state database.
    pub(super) async fn lose_database(&mut self, device: &SimDevice) {
        device.stop(Stop::Kill).await;
        self.mishaps.lost.push(LostDatabase::of(device));
        device.lose_state();
        self.report.databases_lost += 1;
    }

    /// Checks that nothing was lost with the databases that were lost since the last agreement.
    pub(super) fn check_lost_databases(&mut self) {
        invariants::s12_a_lost_database_loses_no_data(&self.world, &self.mishaps.lost);
        self.mishaps.lost.clear();
    }

    fn fail_server(&mut self, draw: &Draw) {
        let faults = [
            ServerFault::Chunks,
            ServerFault::Metadata(FailedSync::Lost),
            ServerFault::Metadata(FailedSync::Kept),
        ];
        let Some(fault) = draw.pick(&faults).copied() else { return };
        self.world.ledger.log(|| format!("server: {fault:?} fails"));
        self.world.server.fail(fault);
    }

    fn back_up(&mut self) {
        let (accepted, again) = {
            let ledger = &self.world.ledger;
            (ledger.accepted_tags(), ledger.second_lives())
        };
        self.mishaps.backup = Some((self.world.server.back_up(), accepted, again));
        self.world.ledger.log(|| "server backed up".to_owned());
    }

    /// The server goes back to its backup. What no device holds is lost with it.
    fn restore(&mut self) {
        let Some((backup, accepted, again)) = self.mishaps.backup.take() else { return };
        let (ledger, held) = (self.world.ledger.clone(), self.held());
        let lives_again = ledger.second_lives();
        // What was accepted and gone by then has come back since, with what the server forgets.
        let come_back: BTreeSet<Print> = lives_again.difference(&again).copied().collect();
        for (print, value) in ledger.values(Fate::Alive) {
            let is_kept = accepted.contains(&value.tag) && !come_back.contains(&print);
            if !held.contains(&print) && !is_kept {
                ledger.settle(&print, Fate::Excused("restore"));
            }
        }
        self.mishaps.forgotten.extend(come_back);
        self.world.server.restore(backup);
        ledger.forget_accepted(accepted);
        learn_restores(&self.world);
        self.world.devices.iter().for_each(|device| device.link.cut());
        ledger.log(|| "server restored from a backup".to_owned());
        self.report.restores += 1;
    }

    /// A user renames what clashes, where names are told apart. Says whether there was anything.
    pub(super) fn tell_clashes_apart(&mut self) -> bool {
        let Some(device) = self.world.plain_devices().next().map(Rc::clone) else { return false };
        let mut renamed = 0;
        loop {
            let clashing = invariants::clashing(&shown(&device.fs.user()));
            // The deepest first: what is above it keeps its path until then.
            let Some(path) = clashing.iter().max_by_key(|path| path.matches('/').count()) else {
                break;
            };
            device.writer.rename(path, &format!("{path}.apart{renamed}"));
            renamed += 1;
        }
        self.report.clashes += renamed;
        renamed > 0
    }
}
