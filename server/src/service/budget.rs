//! What is left of each capability's byte budget.
//!
//! Owns the account of bytes stored under a capability, over all streams that show it, until it
//! expires. In memory: a restart forgives at most one capability's life. It must not check a
//! capability.

use super::refusal::busy;
use common::ids::DeviceId;
use common::wire::meta::{Refusal, RefusalCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unexpired capabilities of one device that are in use at once. With one a folder, renewed at
/// half its life, a device uses two a folder.
const CAPABILITIES_PER_DEVICE_MAX: usize = 2 * common::limits::FOLDERS_MAX;

type Account = ([u8; 32], u64);

/// All accounts, by device.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    devices: Mutex<BTreeMap<DeviceId, Accounts>>,
}

/// Bytes spent by (hash of the capability, expiry).
type Accounts = BTreeMap<Account, u64>;

impl Budgets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Accounts>> {
        // Nothing panics while it holds this lock, and the accounts are whole between statements.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a capability that was checked just now.
    pub(super) fn of(
        self: &Arc<Self>,
        device: DeviceId,
        capability: &[u8],
        bytes_max: u64,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<Budget, Refusal> {
        let account = (*blake3::hash(capability).as_bytes(), expires_ms);
        let mut devices = self.lock();
        let accounts = devices.entry(device).or_default();
        accounts.retain(|(_, expires_ms), _| *expires_ms > now_ms);
        if accounts.len() >= CAPABILITIES_PER_DEVICE_MAX && !accounts.contains_key(&account) {
            return Err(busy("this device uses too many capabilities at once"));
        }
        accounts.entry(account).or_default();
        Ok(Budget { budgets: Arc::clone(self), device, account, bytes_max })
    }
}

/// One capability's account.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    budgets: Arc<Budgets>,
    device: DeviceId,
    account: Account,
    bytes_max: u64,
}

impl Budget {
    /// Takes bytes out before they are stored. Chunks that are stored already need the room too
    /// while they are put: only the put tells that they are.
    pub(super) fn spend(&self, bytes: u64) -> Result<(), Refusal> {
        let mut devices = self.budgets.lock();
        let spent = devices.entry(self.device).or_default().entry(self.account).or_default();
        match spent.checked_add(bytes).filter(|total| *total <= self.bytes_max) {
            Some(total) => {
                *spent = total;
                Ok(())
            }
            None => Err(Refusal::new(
                RefusalCode::Quota,
                format!(
                    "{bytes} bytes more than the {spent} stored are over the capability's {}",
                    self.bytes_max
                ),
            )),
        }
    }

    /// Gives back bytes that were not stored, or that were stored already.
    pub(super) fn give_back(&self, bytes: u64) {
        let mut devices = self.budgets.lock();
        if let Some(spent) =
            devices.get_mut(&self.device).and_then(|accounts| accounts.get_mut(&self.account))
        {
            *spent = spent.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 32]);

    #[test]
    fn streams_of_one_capability_share_its_budget() {
        let budgets = Arc::new(Budgets::default());
        let first = budgets.of(DEVICE, b"capability", 100, 50, 0).unwrap();
        let second = budgets.of(DEVICE, b"capability", 100, 50, 1).unwrap();
        let other = budgets.of(DEVICE, b"another", 100, 50, 1).unwrap();
        assert_eq!(first.spend(60), Ok(()));
        assert_eq!(second.spend(60).unwrap_err().code, RefusalCode::Quota as i32);
        assert_eq!(other.spend(60), Ok(()));
        first.give_back(30);
        assert_eq!(second.spend(60), Ok(()));
        assert_eq!(second.spend(u64::MAX).unwrap_err().code, RefusalCode::Quota as i32);
    }

    #[test]
    fn expired_capabilities_are_forgotten() {
        let budgets = Arc::new(Budgets::default());
        for index in 0..CAPABILITIES_PER_DEVICE_MAX as u64 {
            budgets.of(DEVICE, &index.to_le_bytes(), 1, 50, 0).unwrap();
        }
        assert!(budgets.of(DEVICE, b"one more", 1, 90, 0).is_err());
        assert!(budgets.of(DEVICE, b"one more", 1, 90, 50).is_ok());
        assert_eq!(budgets.lock().get(&DEVICE).unwrap().len(), 1);
    }
}
