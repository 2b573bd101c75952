//! Lists that a server tells page by page, each page saying where the next one begins.
//!
//! Owns what such a list may do: every page leads on, and the list ends. A folder does nothing else
//! while it is read, so a server could hold it up for as long as it likes otherwise. It must not know
//! what is listed.

use super::{AskError, unreadable};
use common::limits::GROUP_CHANGES_MAX;
use common::revision::Revision;

/// Pages of one list at most: of ten million entries, and room.
pub(super) const PAGES_MAX: usize = 64 * 1024;

fn stays() -> AskError {
    unreadable("a page begins where the one before it did")
}

pub(super) fn endless() -> AskError {
    unreadable("it does not end")
}

/// Where a list in ascending order goes on.
#[derive(Default)]
pub(super) struct Ascending {
    /// After what; empty at the beginning.
    pub(super) after: Vec<u8>,
    pages: usize,
}

impl Ascending {
    /// Goes on to the next page.
    pub(super) fn go_on(&mut self, after: Vec<u8>) -> Result<(), AskError> {
        if after <= self.after {
            return Err(stays());
        }
        (self.after, self.pages) = (after, self.pages + 1);
        if self.pages > PAGES_MAX { Err(endless()) } else { Ok(()) }
    }
}

/// Where a list of revisions goes on, the newest first; within one, in an order of the server's.
pub(super) struct Descending {
    /// At which revision; 0 for the newest.
    pub(super) revision: Revision,
    /// After what of it; empty at its beginning.
    pub(super) after: Vec<u8>,
    pages: usize,
    /// How many of the pages began within the revision.
    within: usize,
}

impl Descending {
    /// A list that begins at a revision; 0 for the newest.
    pub(super) fn from(revision: Revision) -> Self {
        Self { revision, after: Vec::new(), pages: 0, within: 0 }
    }

    /// Goes on to the next page.
    pub(super) fn go_on(&mut self, revision: Revision, after: Vec<u8>) -> Result<(), AskError> {
        let is_within = self.revision == revision;
        let is_above = self.revision != 0 && revision > self.revision;
        if revision == 0 || is_above || (is_within && after == self.after) {
            return Err(stays());
        }
        self.within = if is_within { self.within + 1 } else { 0 };
        (self.revision, self.after, self.pages) = (revision, after, self.pages + 1);
        // A page tells of one entry at least, or passes over many.
        if self.pages > PAGES_MAX || self.within > GROUP_CHANGES_MAX {
            return Err(endless());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(told: Result<(), AskError>) -> String {
        told.map_or_else(|error| error.to_string(), |()| "goes on".to_owned())
    }

    #[test]
    fn a_list_that_does_not_lead_on_is_refused() {
        let mut list = Ascending::default();
        assert!(reason(list.go_on(Vec::new())).contains("begins where"));
        assert_eq!(reason(list.go_on(vec![5])), "goes on");
        for after in [vec![5], vec![4], Vec::new()] {
            assert!(reason(list.go_on(after)).contains("begins where"));
        }
        let mut list = Descending::from(0);
        assert!(reason(list.go_on(0, vec![1])).contains("begins where"));
        assert_eq!(reason(list.go_on(9, vec![1])), "goes on");
        for (revision, after) in [(10, vec![]), (9, vec![1]), (0, vec![2])] {
            assert!(reason(list.go_on(revision, after)).contains("begins where"));
        }
        // Within a revision the order is the server's.
        assert_eq!(reason(list.go_on(9, vec![0])), "goes on");
        assert_eq!(reason(list.go_on(8, vec![1])), "goes on");
    }

    #[test]
    fn a_list_that_leads_on_for_ever_is_refused() {
        let mut list = Ascending::default();
        let mut numbers = 1_u64..;
        let told = numbers.find_map(|number| list.go_on(number.to_be_bytes().to_vec()).err());
        assert!(reason(Err(told.unwrap())).contains("does not end"));
        assert_eq!(numbers.start, PAGES_MAX as u64 + 2);

        let mut list = Descending::from(0);
        let told = (0..u64::MAX).rev().find_map(|revision| list.go_on(revision, Vec::new()).err());
        assert!(reason(Err(told.unwrap())).contains("does not end"));

        let mut list = Descending::from(7);
        let mut numbers = 0_u64..;
        let told = numbers.find_map(|number| list.go_on(7, number.to_be_bytes().to_vec()).err());
        assert!(reason(Err(told.unwrap())).contains("does not end"));
        assert_eq!(numbers.start, GROUP_CHANGES_MAX as u64 + 1);
    }
}
