//! Frames: a u32 length in little endian, then that many bytes of a prost message.
//!
//! Owns the encoding and its bounds. It must not read from a socket: callers hand in bytes.

use crate::limits::FRAME_BYTES_MAX;
use prost::Message;

/// Bytes of a frame's length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Bytes that are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is over the limit; nothing of it was read or allocated.
    #[error("a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// The message does not decode.
    #[error("the message does not decode: {0}")]
    Malformed(String),
}

/// Encodes a message with its length in front.
///
/// # Errors
/// [`FrameError::TooLarge`]: the caller has to split what it sends.
pub fn encode(message: &impl Message) -> Result<Vec<u8>, FrameError> {
    let length = message.encoded_len();
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    message.encode_raw(&mut bytes);
    Ok(bytes)
}

/// The length that a prefix announces, checked before anything is allocated for it.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub fn length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    Ok(length)
}

/// Decodes a frame's body.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<M: Message + Default>(body: &[u8]) -> Result<M, FrameError> {
    M::decode(body).map_err(|error| FrameError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hello::Hello;

    #[test]
    fn a_frame_round_trips() {
        let hello = Hello { version: 1, software: "x".into(), features: vec![] };
        let bytes = encode(&hello).unwrap();
        let prefix = [bytes[0], bytes[1], bytes[2], bytes[3]];
        assert_eq!(length(prefix), Ok(bytes.len() - PREFIX_BYTES));
        assert_eq!(decode::<Hello>(&bytes[PREFIX_BYTES..]), Ok(hello));
    }

    #[test]
    fn a_length_of_u32_max_is_refused_before_allocation() {
        assert_eq!(length([0xff; 4]), Err(FrameError::TooLarge(u32::MAX as usize)));
    }

    #[test]
    fn a_frame_over_the_limit_is_not_encoded() {
        let hello = Hello { version: 1, software: "x".repeat(FRAME_BYTES_MAX), features: vec![] };
        assert!(matches!(encode(&hello), Err(FrameError::TooLarge(_))));
    }
}
