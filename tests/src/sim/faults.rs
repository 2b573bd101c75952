//! Which operation of a disk fails how.
//!
//! Owns the choice. A failed sync is no part of it here: it has a dial of its own.

use super::draw::Draw;
use client::fs::memory::{Fault, Operation, OperationKind};

/// A fault that this operation may have.
#[must_use]
pub(super) fn fault_of(operation: &Operation, draw: &Draw) -> Option<Fault> {
    match operation.kind {
        OperationKind::List | OperationKind::Open => {
            let faults = [Fault::Io, Fault::TooManyOpenFiles, Fault::Denied];
            draw.pick(&faults).copied()
        }
        OperationKind::Stat | OperationKind::Read | OperationKind::ReadLink => Some(Fault::Io),
        OperationKind::Stage | OperationKind::Write => {
            draw.pick(&[Fault::NoSpace, Fault::Io]).copied()
        }
        OperationKind::Rename
        | OperationKind::Exchange
        | OperationKind::MakeDirectory
        | OperationKind::MakeSymlink
        | OperationKind::Link
        | OperationKind::Remove
        | OperationKind::SetAttributes
        | OperationKind::WriterAbsent => Some(Fault::Io),
        OperationKind::Sync
        | OperationKind::ReadOn
        | OperationKind::InitRoot
        | OperationKind::ReadMarker
        | OperationKind::FreeSpace => None,
    }
}
