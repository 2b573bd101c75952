//! Capabilities that are kept and renewed before they expire.
//!
//! Owns the cache, a folder each. It must not know how a capability is fetched or what it permits.

use common::ids::FolderId;
use common::limits::CAPABILITY_LIFE_MS;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A capability is renewed when this part of its life is left, so that a stream that is opened with
/// it is open before it expires.
const RENEWED_AT_FRACTION: u32 = 4;

/// Capabilities by folder.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    kept: BTreeMap<FolderId, Kept>,
}

#[derive(Debug)]
struct Kept {
    capability: Vec<u8>,
    renew_at: Instant,
}

impl Capabilities {
    /// The capability of a folder, unless it is time for a new one.
    pub(super) fn get(&self, folder: &FolderId, now: Instant) -> Option<Vec<u8>> {
        let kept = self.kept.get(folder)?;
        (now < kept.renew_at).then(|| kept.capability.clone())
    }

    /// Keeps a capability that expires at `expires_ms` while the server's clock shows
    /// `server_now_ms`. The device's own clock does not matter.
    pub(super) fn keep(
        &mut self,
        folder: FolderId,
        capability: Vec<u8>,
        expires_ms: u64,
        server_now_ms: u64,
        now: Instant,
    ) {
        let life_ms = expires_ms.saturating_sub(server_now_ms).min(CAPABILITY_LIFE_MS);
        let life = Duration::from_millis(life_ms);
        let renew_at = now + (life - life / RENEWED_AT_FRACTION);
        self.kept.insert(folder, Kept { capability, renew_at });
    }

    /// Drops a capability that the server no longer takes, unless it was renewed meanwhile.
    pub(super) fn forget(&mut self, folder: &FolderId, refused: &[u8]) {
        if self.kept.get(folder).is_some_and(|kept| kept.capability == refused) {
            self.kept.remove(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: FolderId = FolderId::from_bytes([1; 32]);

    #[test]
    fn a_capability_is_renewed_before_it_expires() {
        let now = Instant::now();
        let mut kept = Capabilities::default();
        kept.keep(FOLDER, vec![1], 1_300_000, 1_000_000, now);
        assert_eq!(kept.get(&FOLDER, now + Duration::from_secs(224)), Some(vec![1]));
        assert_eq!(kept.get(&FOLDER, now + Duration::from_secs(225)), None);
        assert_eq!(kept.get(&FolderId::from_bytes([2; 32]), now), None);
    }

    #[test]
    fn an_expired_or_endless_one_is_not_kept_for_long() {
        let now = Instant::now();
        let mut kept = Capabilities::default();
        kept.keep(FOLDER, vec![1], 1, 2, now);
        assert_eq!(kept.get(&FOLDER, now), None);
        kept.keep(FOLDER, vec![1], u64::MAX, 0, now);
        assert_eq!(kept.get(&FOLDER, now + Duration::from_secs(300)), None);
    }

    #[test]
    fn only_the_refused_one_is_dropped() {
        let now = Instant::now();
        let mut kept = Capabilities::default();
        kept.keep(FOLDER, vec![2], 300_000, 0, now);
        kept.forget(&FOLDER, &[1]);
        assert_eq!(kept.get(&FOLDER, now), Some(vec![2]));
        kept.forget(&FOLDER, &[2]);
        assert_eq!(kept.get(&FOLDER, now), None);
    }
}
