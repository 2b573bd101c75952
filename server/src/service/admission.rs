//! How much one device may ask at once, so that no device crowds out the others.
//!
//! Owns two bounds: requests under way of one device, over all its connections, and subscriptions
//! that it holds. What is over them is refused with `Busy`, never queued: a queue would be memory
//! that a peer can grow. It must not know what is asked.

use super::refusal::busy;
use common::ids::DeviceId;
use common::wire::meta::Refusal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests of one device under way at once; a device works on a few folders in parallel.
const REQUESTS_PER_DEVICE_MAX: usize = 64;
/// Subscriptions of one device: its folders, and those of connections that died unnoticed.
const SUBSCRIPTIONS_PER_DEVICE_MAX: usize = 4 * common::limits::FOLDERS_PER_DEVICE_MAX;
/// Requests of joiners under way at once, all joiners together: they are strangers.
const JOINS_MAX: usize = 32;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Requests(DeviceId),
    Subscriptions(DeviceId),
    Joins,
}

impl Subject {
    const fn limit(self) -> usize {
        match self {
            Self::Requests(_) => REQUESTS_PER_DEVICE_MAX,
            Self::Subscriptions(_) => SUBSCRIPTIONS_PER_DEVICE_MAX,
            Self::Joins => JOINS_MAX,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Requests(_) => "requests of this device",
            Self::Subscriptions(_) => "subscriptions of this device",
            Self::Joins => "devices joining",
        }
    }
}

/// Counts what is under way.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Mutex<BTreeMap<Subject, usize>>,
}

impl Admission {
    pub(super) fn request(self: &Arc<Self>, device: DeviceId) -> Result<Admitted, Refusal> {
        self.admit(Subject::Requests(device))
    }

    pub(super) fn subscription(self: &Arc<Self>, device: DeviceId) -> Result<Admitted, Refusal> {
        self.admit(Subject::Subscriptions(device))
    }

    pub(super) fn join(self: &Arc<Self>) -> Result<Admitted, Refusal> {
        self.admit(Subject::Joins)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Subject, usize>> {
        // Nothing panics while it holds this lock, and the counts are whole between statements.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, subject: Subject) -> Result<Admitted, Refusal> {
        let mut counts = self.lock();
        let count = counts.entry(subject).or_default();
        if *count >= subject.limit() {
            return Err(busy(format!("{} {} at once are too many", *count + 1, subject.what())));
        }
        *count += 1;
        Ok(Admitted { admission: Arc::clone(self), subject })
    }
}

/// Something under way; no longer so when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    subject: Subject,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        if let Some(count) = counts.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::meta::RefusalCode;

    #[test]
    fn one_device_cannot_crowd_out_another() {
        let admission = Arc::new(Admission::default());
        let (one, two) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let mut held: Vec<_> =
            (0..REQUESTS_PER_DEVICE_MAX).map(|_| admission.request(one).unwrap()).collect();
        let refusal = admission.request(one).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Busy as i32);
        assert!(admission.request(two).is_ok());
        assert!(admission.subscription(one).is_ok());
        held.pop();
        assert!(admission.request(one).is_ok());
        held.clear();
        assert!(admission.lock().is_empty());
    }
}
