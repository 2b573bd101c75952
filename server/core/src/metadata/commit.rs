//! A commit as it enters the state machine: signatures checked, pages hashed and read.
//!
//! Owns the work that costs processor time and needs no state, so that it is done by the task of
//! the connection and not by the one writer. The types can be had by checking only. It must not
//! know whether an author is enrolled or a page is wanted.

use common::chunk::{ClearPage, PageError, read_clear_page};
use common::ids::{ChunkId, DeviceId, FolderId, Head};
use common::record::{Group, GroupError, SignedGroup};
use std::collections::BTreeMap;

/// Proof that an object is durably stored, from a verified batch of receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Stored bytes.
    pub length: u32,
    /// Generation of the garbage collection when presence was proven.
    pub generation: u64,
}

/// A group whose signature has been looked at.
#[derive(Clone, Debug)]
pub struct PreparedGroup {
    signed: SignedGroup,
    verified: Result<Group, GroupError>,
}

impl PreparedGroup {
    /// Decodes the group and checks its signature against the author that it names.
    #[must_use]
    pub fn verify(signed: SignedGroup) -> Self {
        let verified = signed.verify();
        Self { signed, verified }
    }

    /// The bytes as sent.
    #[must_use]
    pub const fn signed(&self) -> &SignedGroup {
        &self.signed
    }

    /// The group, when it decodes and its signature holds.
    ///
    /// # Errors
    /// [`GroupError`] says which of the two does not.
    pub const fn group(&self) -> Result<&Group, &GroupError> {
        self.verified.as_ref()
    }

    /// What tells this request's bytes from others under the same request id.
    #[must_use]
    pub fn digest(&self) -> Head {
        self.signed.digest(0)
    }
}

/// A manifest page whose bytes have been hashed and whose clear part has been read.
#[derive(Clone, Debug)]
pub struct PreparedPage {
    /// What a server can read of it.
    pub clear: Result<ClearPage, PageError>,
    /// Stored bytes.
    pub length: usize,
}

/// A commit: groups to judge in order, and what proves that their objects are stored.
#[derive(Clone, Debug)]
pub struct PreparedCommit {
    /// The peer; every group has to be its own.
    pub device: DeviceId,
    /// The folder; every group has to name it.
    pub folder: FolderId,
    /// Groups, at most [`common::limits::COMMIT_GROUPS_MAX`].
    pub groups: Vec<PreparedGroup>,
    /// New pages by their ids.
    pub pages: BTreeMap<ChunkId, PreparedPage>,
    /// Receipts by object, from batches whose signatures and folder the caller has checked.
    pub receipts: BTreeMap<ChunkId, Receipt>,
}

impl PreparedCommit {
    /// Checks signatures, hashes pages and reads them. Costs about 0.1 ms a group and as much a
    /// megabyte of pages.
    #[must_use]
    pub fn prepare(
        device: DeviceId,
        folder: FolderId,
        groups: Vec<SignedGroup>,
        pages: &[Vec<u8>],
        receipts: BTreeMap<ChunkId, Receipt>,
    ) -> Self {
        let pages = pages.iter().map(|stored| {
            let id = ChunkId::of(stored);
            let clear = read_clear_page(&id, stored, &folder);
            (id, PreparedPage { clear, length: stored.len() })
        });
        Self {
            device,
            folder,
            groups: groups.into_iter().map(PreparedGroup::verify).collect(),
            pages: pages.collect(),
            receipts,
        }
    }
}
