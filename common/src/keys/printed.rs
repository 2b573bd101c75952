//! The printed form of secrets that people copy: a prefix, Crockford's base32 in lower case without
//! padding, a length and a checksum, so that a typing error is told precisely.
//!
//! Owns this text form. It must not know what the bytes mean.

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;
use zeroize::Zeroizing;

const CHECKSUM_CONTEXT: &str = "driftless 2026 printed checksum v1";
const CHECKSUM_BYTES: usize = 4;
const LENGTH_BYTES: usize = 2;

/// Crockford's alphabet; `i`, `l` and `o`, which it leaves out, are read as what they look like.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    specification.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZiIlLoO");
    specification.translate.to.push_str("abcdefghjkmnpqrstvwxyz111100");
    specification
        .encoding()
        .unwrap_or_else(|_| unreachable!("the alphabet has 32 distinct symbols"))
});

/// A line that is not what was printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintedError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// Longer than any printed secret.
    #[error("it is {0} characters long, which is too long")]
    TooLong(usize),
    /// Begins otherwise.
    #[error("it does not begin with `{0}`")]
    Prefix(&'static str),
    /// A character that is never printed.
    #[error("character {position} (`{character}`) cannot be part of it")]
    Character {
        /// Which character of the line, from 1, spaces not counted.
        position: usize,
        /// What stands there.
        character: char,
    },
    /// The end is missing.
    #[error("it is cut short: about {0} characters are missing at the end")]
    Truncated(usize),
    /// Something follows the end.
    #[error("about {0} characters too many stand at the end")]
    Trailing(usize),
    /// All characters are possible, but they do not belong together.
    #[error("its checksum is wrong: a character was mistyped, left out or swapped")]
    Checksum,
}

/// Prints bytes: `prefix`, then base32 of length, bytes and checksum.
pub(crate) fn print(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut whole = Zeroizing::new(Vec::with_capacity(bytes.len() + LENGTH_BYTES + CHECKSUM_BYTES));
    // A length over the limit is not parsed back; it is never reached by what is printed here.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    whole.extend_from_slice(&length.to_le_bytes());
    whole.extend_from_slice(bytes);
    let check = checksum(prefix, &whole);
    whole.extend_from_slice(&check);
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + whole.len() * 8 / 5 + 1));
    text.push_str(prefix);
    BASE32.encode_append(&whole, &mut text);
    text
}

/// Reads back what [`print`] made. Spaces and line breaks are skipped, case does not matter.
///
/// # Errors
/// [`PrintedError`] says what is wrong with the line.
pub(crate) fn parse(
    prefix: &'static str,
    text: &str,
    text_bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, PrintedError> {
    if text.len() > text_bytes_max {
        return Err(PrintedError::TooLong(text.len()));
    }
    let line: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|character| !character.is_whitespace()).collect());
    if line.is_empty() {
        return Err(PrintedError::Empty);
    }
    let symbols = line
        .get(..prefix.len())
        .filter(|start| start.eq_ignore_ascii_case(prefix))
        .and_then(|_| line.get(prefix.len()..))
        .ok_or(PrintedError::Prefix(prefix))?;
    if let Some((position, character)) = symbols.chars().enumerate().find(|(_, c)| !is_symbol(*c)) {
        return Err(PrintedError::Character { position: prefix.len() + position + 1, character });
    }
    let whole = decode(symbols)?;
    let body = LENGTH_BYTES..whole.len() - CHECKSUM_BYTES;
    if whole[body.end..] != checksum(prefix, &whole[..body.end]) {
        return Err(PrintedError::Checksum);
    }
    Ok(Zeroizing::new(whole[body].to_vec()))
}

/// Decodes symbols of the alphabet and compares the length that they announce.
fn decode(symbols: &str) -> Result<Zeroizing<Vec<u8>>, PrintedError> {
    // The announced length is looked at first: it tells a cut line from a mistyped one.
    let first = symbols.get(..8).ok_or_else(|| PrintedError::Truncated(8 - symbols.len()))?;
    let first = BASE32.decode(first.as_bytes()).map_err(|_| PrintedError::Checksum)?;
    let bytes = usize::from(u16::from_le_bytes([first[0], first[1]]));
    let expected = ((LENGTH_BYTES + bytes + CHECKSUM_BYTES) * 8).div_ceil(5);
    if symbols.len() < expected {
        return Err(PrintedError::Truncated(expected - symbols.len()));
    }
    if symbols.len() > expected {
        return Err(PrintedError::Trailing(symbols.len() - expected));
    }
    BASE32.decode(symbols.as_bytes()).map(Zeroizing::new).map_err(|_| PrintedError::Checksum)
}

fn is_symbol(character: char) -> bool {
    character.is_ascii_alphanumeric() && !matches!(character, 'u' | 'U')
}

fn checksum(prefix: &str, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT);
    hasher.update(prefix.as_bytes());
    hasher.update(bytes);
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREFIX: &str = "driftless-test-";

    fn read(text: &str) -> Result<Vec<u8>, PrintedError> {
        parse(PREFIX, text, 1000).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn what_is_printed_reads_back_in_any_case_and_spacing() {
        let text = print(PREFIX, &[7; 40]);
        assert_eq!(read(&text), Ok(vec![7; 40]));
        assert_eq!(read(&text.to_uppercase()), Ok(vec![7; 40]));
        let (front, back) = text.split_at(30);
        assert_eq!(read(&format!("  {front}\n {back}\n")), Ok(vec![7; 40]));
    }

    #[test]
    fn letters_that_look_like_digits_are_read_as_digits() {
        let text = print(PREFIX, &[0; 10]);
        let body = text[PREFIX.len()..].replace('0', "O").replace('1', "l");
        assert_eq!(read(&format!("{PREFIX}{body}")), Ok(vec![0; 10]));
    }

    #[test]
    fn each_typing_error_is_told() {
        let text = print(PREFIX, &[7; 40]);
        let mistyped = format!("{}!{}", &text[..20], &text[21..]);
        let mut swapped = text.as_bytes().to_vec();
        swapped[40] = if swapped[40] == b'x' { b'y' } else { b'x' };
        let swapped = String::from_utf8(swapped).unwrap();
        for (line, error) in [
            (String::new(), PrintedError::Empty),
            (" \n".into(), PrintedError::Empty),
            ("x".repeat(1001), PrintedError::TooLong(1001)),
            ("syncthing-abc".into(), PrintedError::Prefix(PREFIX)),
            ("driftless-tést-0123".into(), PrintedError::Prefix(PREFIX)),
            (PREFIX.into(), PrintedError::Truncated(8)),
            (mistyped, PrintedError::Character { position: 21, character: '!' }),
            (text[..text.len() - 3].into(), PrintedError::Truncated(3)),
            (format!("{}abc", *text), PrintedError::Trailing(3)),
            (swapped, PrintedError::Checksum),
        ] {
            assert_eq!(read(&line), Err(error), "{line}");
        }
    }

    #[test]
    fn another_kind_of_secret_does_not_pass() {
        let text = print("driftless-", &[7; 40]);
        let renamed = text.replace("driftless-", PREFIX);
        assert_eq!(read(&renamed), Err(PrintedError::Checksum));
    }

    proptest! {
        #[test]
        fn a_mistyped_character_is_refused(at in 0_usize..74, symbol in "[0-9a-z]") {
            let text = print(PREFIX, &[7; 40]);
            prop_assert_eq!(text.len(), PREFIX.len() + 74);
            let at = PREFIX.len() + at;
            let altered = format!("{}{symbol}{}", &text[..at], &text[at + 1..]);
            if read(&altered) == Ok(vec![7; 40]) {
                let same = altered.replace('o', "0").replace(['i', 'l'], "1");
                let text = text.replace(['i', 'l'], "1");
                prop_assert_eq!(same, text);
            }
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}", tail in "[0-9a-z]{0,80}") {
            prop_assert!(read(&text).is_err());
            let _ = read(&format!("{PREFIX}{tail}"));
        }
    }
}
