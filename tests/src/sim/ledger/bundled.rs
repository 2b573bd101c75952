//! What the book says of bundles.

use super::super::bundles::{Part, Parts, is_archive, is_hollow, parts};
use super::super::writer::Tree;
use super::{Fate, Ledger};
use client::fs::memory::user::UserEntry;

impl Ledger {
    /// Whether a bundle is one that is known, with things added to it of another one that the device
    /// has: what a program put there while the two changed places for a moment is carried over, and
    /// nothing else of that one, which the server has. From then on it is a value.
    #[must_use]
    pub fn is_carried_over(&self, archive: &[u8], has: &Tree) -> bool {
        let Some(found) = parts(archive) else { return false };
        let others: Vec<Parts> = has
            .values()
            .filter_map(|entry| match entry {
                UserEntry::File(bytes, _) if is_archive(bytes) => parts(bytes),
                _ => None,
            })
            .collect();
        let made_of = {
            let inner = self.lock();
            let of_others = |part: &Part| {
                let mut held = inner.archives.iter().filter(|(_, parts)| parts.contains(part));
                held.any(|(tag, _)| inner.accepted.contains(tag))
            };
            let known = inner.archives.iter().filter(|(_, known)| {
                let added = || found.difference(known);
                let is_aside = |other: &Parts| added().all(|part| other.contains(part));
                known.is_subset(&found) && !added().any(of_others) && others.iter().any(is_aside)
            });
            known.max_by_key(|(_, known)| known.len()).map(|(tag, _)| *tag)
        };
        let Some(made_of) = made_of else { return false };
        // It is an edit of the one that stood there.
        self.written(archive, "carried over");
        let value = self.values(Fate::Alive).into_iter().find(|(_, value)| value.tag == made_of);
        if let Some((before, _)) = value {
            self.settle(&before, Fate::Superseded);
        }
        true
    }

    /// Notes bundles without content, which are nobody's.
    pub fn hollow(&self, tree: &Tree) {
        for entry in tree.values() {
            if let UserEntry::File(bytes, _) = entry
                && is_hollow(bytes)
            {
                self.torn(bytes);
            }
        }
    }

    /// Versions of bundles that the server has accepted.
    #[must_use]
    pub fn bundle_count(&self) -> u64 {
        let inner = self.lock();
        inner.bundles.iter().filter(|tag| inner.accepted.contains(*tag)).count() as u64
    }
}
