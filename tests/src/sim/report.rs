//! What the simulation has done, for the line at its end.
//!
//! Owns the counting alone.

use std::fmt;

/// Counts over one seed or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Actions of the user, and operations of the engines on their disks.
    pub actions: u64,
    /// Operations of the engines on their disks.
    pub operations: u64,
    /// Groups that the server accepted.
    pub groups: u64,
    /// Processes killed.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Calls that lost their request or reply.
    pub lost_calls: u64,
    /// Links cut or partitioned.
    pub cuts: u64,
    /// Disk operations that failed.
    pub disk_faults: u64,
    /// Server restarts.
    pub server_restarts: u64,
    /// Servers restored from a backup.
    pub restores: u64,
    /// Restores of files, directories and folders that users asked for.
    pub asked_back: u64,
    /// Those of them that changed something.
    pub brought_back: u64,
    /// Values that lived again for it.
    pub second_lives: u64,
    /// Databases lost.
    pub databases_lost: u64,
    /// Clocks that jumped.
    pub clock_jumps: u64,
    /// Devices that joined late.
    pub late_joins: u64,
    /// Edits that were merged.
    pub merges: u64,
    /// Versions of bundles that the server accepted.
    pub bundles: u64,
    /// Conflicts open at the end.
    pub conflicts: u64,
    /// Syncs of devices that failed.
    pub failed_syncs: u64,
    /// Servers that stopped after a failed sync and were started again.
    pub server_stops: u64,
    /// Directories and roots that could not be entered for a while.
    pub shut: u64,
    /// Writes in the middle of a read.
    pub meddles: u64,
    /// Seeds with a disk that folds names.
    pub folding: u64,
    /// Clashing names told apart at the ends of those.
    pub clashes: u64,
    /// Masses of files that vanished at once.
    pub purges: u64,
    /// Times that a person agreed to what waited.
    pub confirmations: u64,
    /// Versions that retention released.
    pub thinned: u64,
    /// Runs of the server's garbage collection.
    pub collections: u64,
    /// Chunks that they purged.
    pub collected: u64,
    /// Values written.
    pub written: u64,
    /// Values replaced by somebody who saw them.
    pub superseded: u64,
    /// Values removed by somebody who saw them.
    pub deleted: u64,
    /// Values lost where nothing was promised yet.
    pub excused: u64,
    /// Values lost.
    pub lost: u64,
}

impl Report {
    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fields().into_iter().zip(other.clone().fields()) {
            *mine += *theirs;
        }
    }

    fn fields(&mut self) -> [&mut u64; 36] {
        [
            &mut self.seeds,
            &mut self.actions,
            &mut self.operations,
            &mut self.groups,
            &mut self.kills,
            &mut self.power_cuts,
            &mut self.lost_calls,
            &mut self.cuts,
            &mut self.disk_faults,
            &mut self.server_restarts,
            &mut self.restores,
            &mut self.asked_back,
            &mut self.brought_back,
            &mut self.second_lives,
            &mut self.databases_lost,
            &mut self.clock_jumps,
            &mut self.late_joins,
            &mut self.merges,
            &mut self.bundles,
            &mut self.conflicts,
            &mut self.failed_syncs,
            &mut self.server_stops,
            &mut self.shut,
            &mut self.meddles,
            &mut self.folding,
            &mut self.clashes,
            &mut self.purges,
            &mut self.confirmations,
            &mut self.thinned,
            &mut self.collections,
            &mut self.collected,
            &mut self.written,
            &mut self.superseded,
            &mut self.deleted,
            &mut self.excused,
            &mut self.lost,
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "simulation: {} seeds, {} user actions, {} disk operations, {} groups; faults: {} \
             kills, {} power cuts, {} lost calls, {} cuts, {} disk faults, {} server restarts, {} \
             restores of the server, {} databases lost, {} clock jumps, {} failed syncs, {} server stops, {} shut \
             directories, {} writes during reads; {} late joins; {} folding disks with {} clashes; \
             {} mass deletions, {} confirmations; {} collections of {} chunks; {} merges, {} \
              versions of bundles, {} conflicts; {} of {} restores of the past, {} values live again; \
             {} versions thinned; values: {} written, {} superseded, {} deleted, {} \
              excused, {} lost",
            self.seeds,
            self.actions,
            self.operations,
            self.groups,
            self.kills,
            self.power_cuts,
            self.lost_calls,
            self.cuts,
            self.disk_faults,
            self.server_restarts,
            self.restores,
            self.databases_lost,
            self.clock_jumps,
            self.failed_syncs,
            self.server_stops,
            self.shut,
            self.meddles,
            self.late_joins,
            self.folding,
            self.clashes,
            self.purges,
            self.confirmations,
            self.collections,
            self.collected,
            self.merges,
            self.bundles,
            self.conflicts,
            self.brought_back,
            self.asked_back,
            self.second_lives,
            self.thinned,
            self.written,
            self.superseded,
            self.deleted,
            self.excused,
            self.lost
        )
    }
}
