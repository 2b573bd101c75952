//! Waking those who wait for a folder's journal, and telling every event to one listener.
//!
//! Owns the channels. News are told after the transaction is durable, and are hints: whoever is
//! woken reads the state. It must not know what changed beyond that.

use common::ids::FolderId;
use common::revision::{Epoch, Revision};
use server_core::metadata::Event;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// The end of a folder's journal, as last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Life of the journal; 0 when nothing has been told yet.
    pub epoch: Epoch,
    /// Its last revision.
    pub revision: Revision,
}

type Listener = Box<dyn Fn(&Event) + Send + Sync>;

pub(super) struct News {
    listener: OnceLock<Listener>,
    folders: Mutex<BTreeMap<FolderId, watch::Sender<Position>>>,
}

impl News {
    pub(super) fn new() -> Self {
        Self { listener: OnceLock::new(), folders: Mutex::new(BTreeMap::new()) }
    }

    /// Whether it is the first.
    pub(super) fn listen(&self, listener: Listener) -> bool {
        self.listener.set(listener).is_ok()
    }

    pub(super) fn folder(&self, folder: &FolderId) -> watch::Receiver<Position> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // Channels that nobody waits on any more go with the next one that is made.
        folders.retain(|_, sender| sender.receiver_count() > 0);
        folders
            .entry(*folder)
            .or_insert_with(|| watch::Sender::new(Position::default()))
            .subscribe()
    }

    pub(super) fn tell(&self, events: &[Event]) {
        for event in events {
            if let Some(listener) = self.listener.get() {
                listener(event);
            }
            if let Event::Folder { folder, epoch, revision } = event {
                let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = folders.get(folder) {
                    sender.send_replace(Position { epoch: *epoch, revision: *revision });
                }
            }
        }
    }
}
