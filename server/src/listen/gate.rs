//! Who may open a connection while others hold theirs.
//!
//! Owns the counts of connections: in all, in a handshake, of strangers for one address, of one
//! device, of which the oldest gives way to the newest. It must not know QUIC; what it counts is
//! given back when a [`Permit`] is dropped.

use super::limits::ListenLimits;
use common::ids::DeviceId;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What happened at the door so far, and who is inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections now, those in a handshake included.
    pub connections: usize,
    /// Of these, in a handshake.
    pub handshakes: usize,
    /// Connections that were let into a handshake.
    pub accepted: u64,
    /// Connections that had to prove their address first.
    pub retried: u64,
    /// Connections refused for being one too many.
    pub refused: u64,
    /// Connections that gave way to newer ones of the same device.
    pub displaced: u64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// Connections closed because the device is not enrolled.
    pub not_enrolled: u64,
    /// Streams ended because the peer was too slow or sent nonsense.
    pub streams_failed: u64,
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Begin the handshake; the permit lives as long as the connection.
    Accept(Permit),
    /// Let it prove its address first.
    Retry,
    /// One too many.
    Refuse,
}

/// Counts connections against the limits.
pub(super) struct Gate {
    limits: ListenLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: Counters,
    strangers: BTreeMap<IpAddr, usize>,
    /// Of each device, the oldest first.
    devices: BTreeMap<DeviceId, VecDeque<Held>>,
    /// Number of the next connection of a device.
    next: u64,
}

/// A device's connection.
struct Held {
    number: u64,
    /// Dropped when the connection has to give way.
    _stays: oneshot::Sender<()>,
}

/// How far a connection has come, and whose share it counts in.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// In a handshake, from an address that may be forged.
    Handshake,
    /// In a handshake, from an address that was validated first.
    HandshakeFrom(IpAddr),
    /// A joiner.
    Stranger(IpAddr),
    /// An enrolled device, and the number of the connection.
    Device(DeviceId, u64),
    /// About to be closed.
    Closing,
}

impl State {
    /// Counts a connection in a stage; false, and nothing counted, when that is full.
    fn enter(&mut self, stage: &Stage, limits: &ListenLimits) -> bool {
        let entered = match stage {
            Stage::Handshake | Stage::Closing | Stage::Device(..) => true,
            Stage::HandshakeFrom(share) | Stage::Stranger(share) => {
                add_one(&mut self.strangers, *share, limits.strangers_per_address_max)
            }
        };
        if !entered {
            self.counters.refused += 1;
        } else if matches!(stage, Stage::Handshake | Stage::HandshakeFrom(_)) {
            self.counters.handshakes += 1;
        }
        entered
    }

    fn leave(&mut self, stage: &Stage) {
        match stage {
            Stage::Handshake | Stage::Closing => {}
            Stage::HandshakeFrom(share) | Stage::Stranger(share) => {
                take_one(&mut self.strangers, share);
            }
            Stage::Device(device, number) => self.forget(device, *number),
        }
        if matches!(stage, Stage::Handshake | Stage::HandshakeFrom(_)) {
            self.counters.handshakes -= 1;
        }
    }

    /// Counts a connection of a device. Over the limit its oldest gives way: a device that was
    /// started again leaves connections behind that nobody has noticed to be dead.
    fn hold(&mut self, device: DeviceId, max: usize) -> (u64, oneshot::Receiver<()>) {
        let number = self.next;
        self.next += 1;
        let (stays, gives_way) = oneshot::channel();
        let held = self.devices.entry(device).or_default();
        held.push_back(Held { number, _stays: stays });
        while held.len() > max.max(1) {
            held.pop_front();
            self.counters.displaced += 1;
        }
        (number, gives_way)
    }

    fn forget(&mut self, device: &DeviceId, number: u64) {
        if let Some(held) = self.devices.get_mut(device) {
            held.retain(|held| held.number != number);
            if held.is_empty() {
                self.devices.remove(device);
            }
        }
    }
}

impl Gate {
    pub(super) fn new(limits: ListenLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    pub(super) fn counters(&self) -> Counters {
        self.lock().counters
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock, and the counts are whole between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges an attempt from `address`. An address that is not `validated` may be forged, so it
    /// never uses up the share of that address.
    pub(super) fn judge(self: &Arc<Self>, address: IpAddr, validated: bool) -> Verdict {
        let mut state = self.lock();
        let counters = &mut state.counters;
        if counters.connections >= self.limits.connections_max
            || counters.handshakes >= self.limits.handshakes_max
        {
            counters.refused += 1;
            return Verdict::Refuse;
        }
        if !validated && counters.handshakes >= self.limits.retry_above_handshakes {
            counters.retried += 1;
            return Verdict::Retry;
        }
        let stage =
            if validated { Stage::HandshakeFrom(share_of(address)) } else { Stage::Handshake };
        if !state.enter(&stage, &self.limits) {
            return Verdict::Refuse;
        }
        state.counters.connections += 1;
        state.counters.accepted += 1;
        Verdict::Accept(Permit { gate: Arc::clone(self), stage, gives_way: None })
    }

    pub(super) fn handshake_failed(&self) {
        self.lock().counters.handshakes_failed += 1;
    }

    pub(super) fn not_enrolled(&self) {
        self.lock().counters.not_enrolled += 1;
    }

    pub(super) fn stream_failed(&self) {
        self.lock().counters.streams_failed += 1;
    }
}

/// A connection's place; given back when dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    stage: Stage,
    /// Ends when a device's connection has to give way.
    gives_way: Option<oneshot::Receiver<()>>,
}

impl Permit {
    /// The handshake is done and the peer is a joiner; false when its address has too many.
    pub(super) fn become_stranger(&mut self, address: IpAddr) -> bool {
        let next = Stage::Stranger(share_of(address));
        let mut state = self.gate.lock();
        state.leave(&self.stage);
        let entered = state.enter(&next, &self.gate.limits);
        self.stage = if entered { next } else { Stage::Closing };
        entered
    }

    /// The handshake is done and the peer is an enrolled device. When it has too many connections,
    /// the oldest is told to give way.
    pub(super) fn become_device(&mut self, device: DeviceId) {
        let mut state = self.gate.lock();
        state.leave(&self.stage);
        let (number, gives_way) = state.hold(device, self.gate.limits.connections_per_device_max);
        self.stage = Stage::Device(device, number);
        self.gives_way = Some(gives_way);
    }

    /// Completes when newer connections of the same device need the place; never for others.
    /// To be called once.
    pub(super) async fn displaced(&mut self) {
        match self.gives_way.take() {
            // Nothing is ever sent: the other end is dropped.
            Some(gives_way) => drop(gives_way.await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.leave(&self.stage);
        state.counters.connections -= 1;
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("stage", &self.stage).finish_non_exhaustive()
    }
}

fn add_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K, max: usize) -> bool {
    let count = counts.entry(key).or_default();
    let room = *count < max;
    *count += usize::from(room);
    room
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Whose share an address uses up: its own, or of IPv6 that of its /64, which is one household's.
fn share_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(ListenLimits {
            connections_max: 6,
            handshakes_max: 4,
            retry_above_handshakes: 2,
            strangers_per_address_max: 2,
            connections_per_device_max: 1,
            ..ListenLimits::default()
        }))
    }

    fn accept(gate: &Arc<Gate>, address: &str, validated: bool) -> Permit {
        match gate.judge(address.parse().unwrap(), validated) {
            Verdict::Accept(permit) => permit,
            other => panic!("{address}: {other:?}"),
        }
    }

    #[test]
    fn an_unproved_address_is_sent_back_once_handshakes_pile_up() {
        let gate = gate();
        let _held = [accept(&gate, "10.0.0.1", false), accept(&gate, "10.0.0.2", false)];
        assert!(matches!(gate.judge("10.0.0.3".parse().unwrap(), false), Verdict::Retry));
        assert!(matches!(gate.judge("10.0.0.3".parse().unwrap(), true), Verdict::Accept(_)));
    }

    #[test]
    fn forged_addresses_do_not_use_up_the_share_of_their_owner() {
        let gate = gate();
        let _forged = [accept(&gate, "10.0.0.1", false), accept(&gate, "10.0.0.1", false)];
        let _real = [accept(&gate, "10.0.0.1", true), accept(&gate, "10.0.0.1", true)];
        assert!(matches!(gate.judge("10.0.0.1".parse().unwrap(), true), Verdict::Refuse));
    }

    #[test]
    fn strangers_of_one_address_or_network_are_bounded() {
        let gate = gate();
        let mut held = [accept(&gate, "2001:db8::1", true), accept(&gate, "2001:db8::2", true)];
        assert!(matches!(gate.judge("2001:db8::3".parse().unwrap(), true), Verdict::Refuse));
        // An enrolled device no longer counts as a stranger.
        held[0].become_device(DeviceId::from_bytes([1; 32]));
        let _other = accept(&gate, "2001:db8::3", true);
    }

    #[test]
    fn a_joiner_counts_for_its_address_once_the_handshake_is_done() {
        let gate = gate();
        let mut first = accept(&gate, "10.0.0.1", false);
        let mut second = accept(&gate, "10.0.0.1", false);
        let address = "10.0.0.1".parse().unwrap();
        assert!(first.become_stranger(address) && second.become_stranger(address));
        let mut third = accept(&gate, "10.0.0.1", false);
        assert!(!third.become_stranger(address));
    }

    #[test]
    fn the_oldest_connection_of_a_device_gives_way_to_the_newest() {
        let gate = gate();
        let [mut first, mut second, mut other] = [1, 1, 2].map(|number| {
            let mut permit = accept(&gate, "10.0.0.1", false);
            permit.become_device(DeviceId::from_bytes([number; 32]));
            permit
        });
        let gives_way = |permit: &mut Permit| permit.displaced().now_or_never().is_some();
        assert!(gives_way(&mut first));
        assert!(!gives_way(&mut second) && !gives_way(&mut other));
        assert_eq!(gate.counters().displaced, 1);
        // One that gave way takes nothing with it when it ends.
        drop(first);
        let mut third = accept(&gate, "10.0.0.1", false);
        third.become_device(DeviceId::from_bytes([1; 32]));
        assert_eq!(gate.counters().displaced, 2);
    }

    #[test]
    fn every_count_is_given_back() {
        let gate = gate();
        let mut permits = [accept(&gate, "10.0.0.1", true), accept(&gate, "10.0.0.2", false)];
        permits[1].become_device(DeviceId::from_bytes([1; 32]));
        drop(permits);
        let state = gate.lock();
        assert_eq!((state.counters.connections, state.counters.handshakes), (0, 0));
        assert!(state.strangers.is_empty() && state.devices.is_empty());
    }
}
