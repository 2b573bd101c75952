//! Why a server did not do what it was asked, as callers branch on it.
//!
//! Owns [`RemoteError`]. It must not name a type of the transport: the simulation makes these too.

use common::ids::ClusterId;
use common::wire::meta::{Refusal, RefusalCode};

/// A call to a [`super::Remote`] that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No connection could be made.
    #[error("cannot reach the server at {address}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the transport said.
        reason: String,
    },
    /// The connection was lost while the call ran; it may have taken effect.
    #[error("the connection to the server was lost: {0}")]
    Closed(String),
    /// The server did not answer in time; the call may have taken effect.
    #[error("the server did not answer in time ({0})")]
    Timeout(&'static str),
    /// The server said no.
    #[error("the server refused: {}", refusal_text(.0))]
    Refused(Refusal),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// What answers there is not the server that this device joined.
    #[error("the server at {address} has another key than {expected}; it is not the one joined")]
    WrongServerKey {
        /// Where it was found.
        address: String,
        /// The key that it had to have.
        expected: ClusterId,
    },
    /// The caller asked for more than the protocol carries at once.
    #[error("the request is too large: {0}")]
    TooLarge(String),
}

impl RemoteError {
    /// Whether the same call may succeed later with nothing changed here.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Closed(_) | Self::Timeout(_) => true,
            Self::Refused(refusal) => matches!(
                refusal.code(),
                RefusalCode::Busy
                    | RefusalCode::DiskFull
                    | RefusalCode::Stopped
                    | RefusalCode::Capability
            ),
            Self::Protocol(_) | Self::WrongServerKey { .. } | Self::TooLarge(_) => false,
        }
    }

    /// Whether there is no working connection: the device is offline, rather than refused.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Closed(_) | Self::Timeout(_))
    }

    /// Whether the server does not let this device in: it was revoked, or is not known there.
    #[must_use]
    pub fn is_barred(&self) -> bool {
        matches!(self.refusal_code(), Some(RefusalCode::Revoked | RefusalCode::NotEnrolled))
    }

    /// The code of a refusal.
    #[must_use]
    pub fn refusal_code(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code()),
            _ => None,
        }
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    if refusal.message.is_empty() {
        format!("{:?}", refusal.code())
    } else {
        refusal.message.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again() {
        let cases = [
            (RemoteError::Timeout("connecting"), true),
            (RemoteError::Closed("reset".into()), true),
            (RemoteError::Refused(Refusal::new(RefusalCode::Busy, "")), true),
            (RemoteError::Refused(Refusal::new(RefusalCode::NotEnrolled, "")), false),
            (RemoteError::Refused(Refusal { code: 9999, message: String::new() }), false),
            (RemoteError::Protocol("x".into()), false),
        ];
        for (error, retryable) in cases {
            assert_eq!(error.is_retryable(), retryable, "{error}");
        }
    }

    #[test]
    fn only_a_revocation_or_a_lost_enrolment_bars_a_device() {
        for code in (0..=16).filter_map(|code| RefusalCode::try_from(code).ok()) {
            let barred = matches!(code, RefusalCode::Revoked | RefusalCode::NotEnrolled);
            let error = RemoteError::Refused(Refusal::new(code, ""));
            assert_eq!(error.is_barred(), barred, "{code:?}");
            assert!(!barred || !error.is_retryable(), "{code:?}");
        }
        assert!(!RemoteError::Closed("this device was revoked".into()).is_barred());
    }

    #[test]
    fn a_refusal_without_a_message_names_its_code() {
        let error = RemoteError::Refused(Refusal::new(RefusalCode::DiskFull, ""));
        assert_eq!(error.to_string(), "the server refused: DiskFull");
    }
}
