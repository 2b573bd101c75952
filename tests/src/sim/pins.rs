//! What a simulated device keeps beside its state, and where it reads the device log.
//!
//! Owns the pinned positions, which no crash loses. It must not know the engine that uses them.

use super::invariants::CursorsHaveNoGaps;
use super::server::{SimServer, read_log};
use client::engine::{LogSource, Pins};
use common::ids::{DeviceId, FolderId};
use common::revision::Cursor;
use common::trust::DeviceLog;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// Pins in memory that a crash does not lose.
pub(super) struct SimPins {
    pub(super) newest: Mutex<Option<Cursor>>,
    pub(super) cursors: CursorsHaveNoGaps,
}

impl Pins for SimPins {
    fn pinned(&self, _folder: &FolderId) -> Option<Cursor> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(&self, _folder: &FolderId, cursor: &Cursor) -> std::io::Result<()> {
        self.cursors.stands(cursor.epoch, cursor.revision, "pins itself");
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(*cursor);
        Ok(())
    }
}

/// The device log, read from the server.
pub(super) struct SimLog {
    pub(super) server: Arc<SimServer>,
    pub(super) device: DeviceId,
}

impl LogSource for SimLog {
    fn refresh(&self, _: DeviceId) -> Pin<Box<dyn Future<Output = Option<DeviceLog>> + Send>> {
        let (service, device) = (self.server.service(), self.device);
        Box::pin(async move { read_log(&service, device).await })
    }
}
