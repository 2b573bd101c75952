//! What the transport's errors mean to a caller.
//!
//! Owns the mapping from QUIC errors to [`RemoteError`]. A server closes connections and resets
//! streams with a [`RefusalCode`] as the application error code; 0 says nothing but goodbye.

use super::error::RemoteError;
use common::wire::frame::FrameError;
use common::wire::meta::{Refusal, RefusalCode};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

/// A lost connection.
pub(super) fn lost(error: &ConnectionError) -> RemoteError {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            // It goes to logs and to terminals.
            let reason = String::from_utf8_lossy(&close.reason);
            let message = reason.chars().filter(|c| !c.is_control()).collect();
            by_code(close.error_code, message)
        }
        other => RemoteError::Closed(other.to_string()),
    }
}

/// A stream that cannot be read to its end.
pub(super) fn unreadable(error: ReadError) -> RemoteError {
    match error {
        ReadError::Reset(code) => by_code(code, "the server cut the request off".into()),
        ReadError::ConnectionLost(error) => lost(&error),
        other => RemoteError::Closed(other.to_string()),
    }
}

/// A stream that takes no more.
pub(super) fn unwritable(error: WriteError) -> RemoteError {
    match error {
        WriteError::Stopped(code) => by_code(code, "the server cut the request off".into()),
        WriteError::ConnectionLost(error) => lost(&error),
        other => RemoteError::Closed(other.to_string()),
    }
}

/// A frame that is none.
pub(super) fn misframed(error: &FrameError) -> RemoteError {
    RemoteError::Protocol(error.to_string())
}

fn by_code(code: VarInt, message: String) -> RemoteError {
    match u32::try_from(code.into_inner()) {
        Ok(0) | Err(_) => RemoteError::Closed(message),
        Ok(code) => match RefusalCode::try_from(code.cast_signed()) {
            Ok(code) => RemoteError::Refused(Refusal::new(code, message)),
            Err(_) => RemoteError::Closed(format!("{message} (code {code})")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_code_is_a_refusal_or_a_goodbye() {
        let refused = by_code(VarInt::from_u32(2), "revoked".into());
        assert_eq!(refused.refusal_code(), Some(RefusalCode::NotEnrolled));
        assert!(matches!(by_code(VarInt::from_u32(0), String::new()), RemoteError::Closed(_)));
        assert!(matches!(by_code(VarInt::from_u32(9999), String::new()), RemoteError::Closed(_)));
        assert!(matches!(by_code(VarInt::MAX, String::new()), RemoteError::Closed(_)));
    }
}
