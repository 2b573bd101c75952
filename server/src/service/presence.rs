//! Which devices are connected, and the word that one of them is revoked.
//!
//! Owns the registry of live connections and of when a device was last seen, in memory: after a
//! restart nobody is connected. It must not decide who is enrolled: the device log does, and the
//! service tells this registry of revocations.

use super::clock::Clock;
use common::ids::DeviceId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Live connections of all devices.
pub(super) struct PresenceRegistry {
    clock: Arc<dyn Clock>,
    devices: Mutex<BTreeMap<DeviceId, Device>>,
}

struct Device {
    /// Connections that count as being online.
    connections: usize,
    /// Guards that listen for the revocation, connections included.
    guards: usize,
    /// Set for devices that were enrolled when they connected; others leave no trace.
    last_seen_ms: Option<u64>,
    /// Seen since the metadata was last told.
    unrecorded: bool,
    revoked: watch::Sender<bool>,
}

/// What the registry knows of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) online: bool,
    pub(super) last_seen_ms: u64,
}

impl PresenceRegistry {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, devices: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Device>> {
        // Nothing panics while it holds this lock, and the map is whole between statements.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection of `device` until the guard is dropped. With `remember` its time is
    /// kept afterwards; only for enrolled devices, so that strangers cannot grow the table.
    pub(super) fn connect(self: &Arc<Self>, device: DeviceId, remember: bool) -> Presence {
        let now_ms = self.clock.now_ms();
        let mut devices = self.lock();
        let state = devices.entry(device).or_insert_with(Device::unseen);
        state.connections += 1;
        if remember {
            state.last_seen_ms = Some(now_ms);
            state.unrecorded = true;
        }
        self.guard(device, state, true)
    }

    /// Listens for the revocation of `device` without counting as a connection.
    pub(super) fn listen(self: &Arc<Self>, device: DeviceId) -> Presence {
        let mut devices = self.lock();
        let state = devices.entry(device).or_insert_with(Device::unseen);
        self.guard(device, state, false)
    }

    fn guard(self: &Arc<Self>, device: DeviceId, state: &mut Device, connection: bool) -> Presence {
        state.guards += 1;
        let revoked = state.revoked.subscribe();
        Presence { registry: Arc::clone(self), device, connection, revoked }
    }

    /// Tells every guard of `device` that it is revoked.
    pub(super) fn revoke(&self, device: &DeviceId) {
        if let Some(state) = self.lock().get(device) {
            state.revoked.send_replace(true);
        }
    }

    /// Whether `device` is connected, and when it last was; `None` when it never was since start.
    pub(super) fn seen(&self, device: &DeviceId) -> Option<Seen> {
        let now_ms = self.clock.now_ms();
        self.lock().get(device).and_then(|state| {
            let online = state.connections > 0;
            let last_seen_ms = if online { now_ms } else { state.last_seen_ms? };
            Some(Seen { online, last_seen_ms })
        })
    }

    /// Enrolled devices that are connected, or were since the last call, and when they last were.
    pub(super) fn take_unrecorded(&self) -> Vec<(DeviceId, u64)> {
        let now_ms = self.clock.now_ms();
        let mut devices = self.lock();
        let mut seen = Vec::new();
        for (device, state) in devices.iter_mut() {
            let unrecorded = std::mem::take(&mut state.unrecorded);
            let Some(last_seen_ms) = state.last_seen_ms else { continue };
            if state.connections > 0 {
                seen.push((*device, now_ms));
            } else if unrecorded {
                seen.push((*device, last_seen_ms));
            }
        }
        seen
    }

    /// Takes back that these were recorded: the next [`PresenceRegistry::take_unrecorded`] names
    /// them again.
    pub(super) fn put_back_unrecorded(&self, seen: &[(DeviceId, u64)]) {
        let mut devices = self.lock();
        for (device, _) in seen {
            if let Some(state) = devices.get_mut(device) {
                state.unrecorded = true;
            }
        }
    }

    fn leave(&self, device: &DeviceId, connection: bool) {
        let now_ms = self.clock.now_ms();
        let mut devices = self.lock();
        let Some(state) = devices.get_mut(device) else { return };
        state.guards = state.guards.saturating_sub(1);
        if connection {
            state.connections = state.connections.saturating_sub(1);
            state.last_seen_ms = state.last_seen_ms.map(|_| now_ms);
            state.unrecorded = state.last_seen_ms.is_some();
        }
        if state.guards == 0 && state.last_seen_ms.is_none() {
            devices.remove(device);
        }
    }
}

impl Device {
    fn unseen() -> Self {
        Self {
            connections: 0,
            guards: 0,
            last_seen_ms: None,
            unrecorded: false,
            revoked: watch::Sender::new(false),
        }
    }
}

/// A live connection of a device; it counts as online until this is dropped.
///
/// Take it first and check that the device is enrolled after: a revocation in between is then
/// either seen by the check or told by [`Presence::revoked`].
pub struct Presence {
    registry: Arc<PresenceRegistry>,
    device: DeviceId,
    connection: bool,
    revoked: watch::Receiver<bool>,
}

impl Presence {
    /// The connected device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Completes once the device is revoked; at once when it has been. Cancel-safe.
    pub async fn revoked(&mut self) {
        // The registry holds the sender for as long as a guard exists, so this errs never; were it
        // to, closing the connection is the safe side.
        let _ = self.revoked.wait_for(|revoked| *revoked).await;
    }

    /// Whether the device has been revoked since this guard was taken.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        *self.revoked.borrow()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.registry.leave(&self.device, self.connection);
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("device", &self.device).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 32]);

    fn registry() -> (Arc<Hand>, Arc<PresenceRegistry>) {
        let clock = Arc::new(Hand::default());
        (Arc::clone(&clock), Arc::new(PresenceRegistry::new(clock)))
    }

    #[test]
    fn a_device_is_online_while_one_of_its_connections_lives() {
        let (clock, registry) = registry();
        assert_eq!(registry.seen(&DEVICE), None);
        let first = registry.connect(DEVICE, true);
        let second = registry.connect(DEVICE, true);
        drop(first);
        clock.0.store(7, Ordering::Relaxed);
        assert_eq!(registry.seen(&DEVICE), Some(Seen { online: true, last_seen_ms: 7 }));
        drop(second);
        clock.0.store(9, Ordering::Relaxed);
        assert_eq!(registry.seen(&DEVICE), Some(Seen { online: false, last_seen_ms: 7 }));
        let seen = registry.take_unrecorded();
        assert_eq!(seen, [(DEVICE, 7)]);
        assert!(registry.take_unrecorded().is_empty());
        registry.put_back_unrecorded(&seen);
        assert_eq!(registry.take_unrecorded(), seen);
    }

    #[test]
    fn strangers_leave_nothing_behind() {
        let (_, registry) = registry();
        drop(registry.connect(DEVICE, false));
        drop(registry.listen(DEVICE));
        assert!(registry.lock().is_empty());
    }

    #[test]
    fn a_revocation_reaches_every_guard() {
        let (_, registry) = registry();
        let mut connection = registry.connect(DEVICE, true);
        let mut listener = registry.listen(DEVICE);
        assert!(connection.revoked().now_or_never().is_none());
        registry.revoke(&DEVICE);
        assert!(connection.revoked().now_or_never().is_some());
        assert!(listener.revoked().now_or_never().is_some());
        assert!(listener.is_revoked());
    }
}
