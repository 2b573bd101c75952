//! Which trouble a seed has.
//!
//! Owns the list of kinds and their shares. What was added later is drawn from a generator of its
//! own, so that older seeds keep what they had.

use super::super::draw::Draw;

/// Of a thousand seeds, so many have a disk that folds names.
const FOLDING: u32 = 167;
/// Of a thousand seeds, so many have roots that are not mounted for a while.
const UNMOUNTED: u32 = 150;
/// Of a thousand seeds, so many have a mass deletion in each phase.
const PURGE: u32 = 120;
/// Of a thousand seeds, so many have a server that collects its garbage all the time.
const GC: u32 = 330;

/// Of a thousand seeds, so many have a history that is thinned.
const THINNING: u32 = 250;

/// Of a thousand seeds, so many have users who edit texts line by line.
const TEXTS: u32 = 300;

/// Of a thousand seeds, so many have users who work in bundles.
const BUNDLES: u32 = 250;

/// Of a thousand seeds, so many have users who bring back what was.
const PAST: u32 = 300;

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Processes are killed.
    pub kills: bool,
    /// The power is cut.
    pub power: bool,
    /// Calls are lost, links cut and partitioned.
    pub network: bool,
    /// Disk operations fail.
    pub disk: bool,
    /// The user acts in the middle of the engine's operations.
    pub interference: bool,
    /// The server restarts.
    pub server: bool,
    /// The server is restored from an older backup.
    pub restore: bool,
    /// State databases are lost.
    pub database: bool,
    /// Clocks jump.
    pub clock: bool,
    /// Watchers are late or overflow.
    pub hints: bool,
    /// File times are coarse.
    pub coarse: bool,
    /// A device joins late.
    pub late: bool,
    /// One disk takes names that differ in case or normalisation alone for one, and users make such
    /// names.
    pub folding: bool,
    /// Syncs of devices fail.
    pub syncs: bool,
    /// The server's chunks are on a disk; its syncs and those of the metadata fail.
    pub server_disk: bool,
    /// Directories cannot be entered for a while.
    pub shut: bool,
    /// Roots are not mounted for a while.
    pub unmounted: bool,
    /// Users write to files while they are read.
    pub meddling: bool,
    /// Many files are made, and most of what a device has vanishes at once.
    pub purge: bool,
    /// The history is thinned all the time.
    pub thinning: bool,
    /// Garbage is collected all the time.
    pub gc: bool,
    /// Users edit lines of a few texts.
    pub texts: bool,
    /// Users work in bundles.
    pub bundles: bool,
    /// Users restore files, directories and the whole folder.
    pub past: bool,
}

impl Kinds {
    /// What a seed has.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let draw = Draw::new(seed ^ 0x5eed);
        let kind = |per_mille| draw.per_mille(per_mille);
        let first = Self {
            kills: kind(400),
            power: kind(400),
            network: kind(600),
            disk: kind(300),
            interference: kind(500),
            server: kind(400),
            restore: kind(125),
            database: kind(150),
            clock: kind(150),
            hints: kind(500),
            coarse: kind(300),
            late: kind(300),
            ..Self::default()
        };
        let thinning = Draw::new(seed ^ 0x0005_eed5).per_mille(THINNING);
        let draw = Draw::new(seed ^ 0x0005_eed2);
        let kind = |per_mille| draw.per_mille(per_mille);
        let first = Self { gc: Draw::new(seed ^ 0x0005_eed3).per_mille(GC), ..first };
        let texts = Draw::new(seed ^ 0x0005_eed7).per_mille(TEXTS);
        let bundles = Draw::new(seed ^ 0x0005_eeda).per_mille(BUNDLES);
        let past = Draw::new(seed ^ 0x0005_eed9).per_mille(PAST);
        Self {
            texts,
            bundles,
            past,
            folding: kind(FOLDING),
            syncs: kind(200),
            server_disk: kind(150),
            shut: kind(200),
            meddling: kind(250),
            unmounted: kind(UNMOUNTED),
            purge: kind(PURGE),
            thinning,
            ..first
        }
    }
}
