//! A connection that is kept: made when it is first needed, and again when it was lost.
//!
//! Owns single-flight connecting and the counts of bytes over all connections that it ever made.
//! It must not wait between attempts: a caller that is told of a failure decides when to ask again.
//! Only a server that does not let this device in is left alone for a while, whoever asks: that
//! passes by a person's doing, and the attempts of many folders are no help. A person may end it.

use super::dial::{Dialer, Link};
use super::error::RemoteError;
use common::wire::meta::RefusalCode;
use quinn::VarInt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Time for a goodbye to be sent.
const GOODBYE: Duration = Duration::from_secs(2);

/// Bytes of UDP payload, retransmissions and handshakes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent to the server.
    pub sent_bytes: u64,
    /// Received from the server.
    pub received_bytes: u64,
}

impl std::ops::Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
        }
    }
}

/// A connection under one protocol.
pub(super) struct Kept {
    dialer: Dialer,
    current: Mutex<Current>,
    /// Held while connecting; the outcome of the last attempt, if it failed.
    dialing: tokio::sync::Mutex<Option<RemoteError>>,
    attempts: AtomicU64,
    /// Until a server that does not let this device in is asked again.
    barred_pause: Duration,
}

#[derive(Default)]
struct Current {
    link: Option<Link>,
    /// Of connections before this one.
    past: Traffic,
    /// What the server said that does not let this device in, and until when that is not doubted.
    barred: Option<(RemoteError, Instant)>,
}

impl Kept {
    pub(super) fn new(dialer: Dialer, barred_pause: Duration) -> Self {
        Self {
            dialer,
            current: Mutex::default(),
            dialing: tokio::sync::Mutex::new(None),
            attempts: AtomicU64::new(0),
            barred_pause,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // Nothing panics while it holds this lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if it is up.
    pub(super) fn live(&self) -> Option<Link> {
        self.lock().link.clone().filter(|link| link.connection.close_reason().is_none())
    }

    /// The refusal of a server that did not let this device in when it was last reached.
    pub(super) fn barred(&self) -> Option<RemoteError> {
        self.lock().barred.as_ref().map(|(error, _)| error.clone())
    }

    /// That refusal, while the server is left alone for it.
    fn undoubted(&self) -> Result<(), RemoteError> {
        match &self.lock().barred {
            Some((error, until)) if Instant::now() < *until => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Lets the next call ask again a server that did not know this device: it may by now. A device
    /// that was revoked stays so.
    pub(super) fn doubt(&self) {
        if let Some((error, until)) = &mut self.lock().barred
            && error.refusal_code() == Some(RefusalCode::NotEnrolled)
        {
            *until = Instant::now();
        }
    }

    /// The connection, made if need be. Callers that ask while an attempt runs share its outcome.
    pub(super) async fn link(&self) -> Result<Link, RemoteError> {
        if let Some(link) = self.live() {
            return Ok(link);
        }
        let attempts_before = self.attempts.load(Ordering::Acquire);
        let mut failed = self.dialing.lock().await;
        if let Some(link) = self.live() {
            return Ok(link);
        }
        if self.attempts.load(Ordering::Acquire) != attempts_before
            && let Some(error) = &*failed
        {
            return Err(error.clone());
        }
        self.undoubted()?;
        let dialed = self.dialer.dial().await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        match dialed {
            Ok(link) => {
                *failed = None;
                self.lock().barred = None;
                self.replace(Some(link.clone()));
                Ok(link)
            }
            Err(error) => {
                tracing::debug!(%error, "connecting failed");
                if error.is_barred() {
                    let until = Instant::now() + self.barred_pause;
                    self.lock().barred = Some((error.clone(), until));
                }
                *failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn replace(&self, link: Option<Link>) -> Option<Link> {
        let mut current = self.lock();
        let past = std::mem::replace(&mut current.link, link);
        if let Some(past) = &past {
            current.past = current.past + traffic_of(past);
        }
        past
    }

    /// Bytes over all connections so far.
    pub(super) fn traffic(&self) -> Traffic {
        let current = self.lock();
        current.past + current.link.as_ref().map(traffic_of).unwrap_or_default()
    }

    /// Says goodbye. A later call to [`Kept::link`] connects anew.
    pub(super) async fn close(&self) {
        if let Some(link) = self.replace(None) {
            link.connection.close(VarInt::from_u32(0), b"goodbye");
            if timeout(GOODBYE, link.endpoint.wait_idle()).await.is_err() {
                tracing::debug!("a connection did not end in time");
            }
        }
    }
}

fn traffic_of(link: &Link) -> Traffic {
    let stats = link.connection.stats();
    Traffic { sent_bytes: stats.udp_tx.bytes, received_bytes: stats.udp_rx.bytes }
}
