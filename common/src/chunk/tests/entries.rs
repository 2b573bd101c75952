//! Sealed names and attributes: round trips, padding, and what they are bound to.

use super::{folder, forge, keys, other_folder, plaintext};
use crate::chunk::{
    Attributes, ObjectType, OpenError, open_attributes, open_name, seal_attributes, seal_name,
};
use crate::ids::{ContentTag, EntryId};
use crate::limits::{
    ATTRIBUTES_BYTES_MAX, FILE_BYTES_MAX, SEALED_NAME_BYTES_MAX, SYMLINK_BYTES_MAX,
};
use crate::name::{Name, NameError};
use proptest::prelude::*;

const ENTRY: EntryId = EntryId::from_bytes([5; 16]);
const OTHER: EntryId = EntryId::from_bytes([6; 16]);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn file() -> Attributes {
    Attributes {
        mode: 0o640,
        mtime_ns: 1_700_000_000_123_456_789,
        size: 123_456,
        target: None,
        tag: ContentTag::from_bytes([7; 32]),
        restored: None,
    }
}

fn seal(attributes: &Attributes) -> Vec<u8> {
    seal_attributes(&keys(), &folder(), &ENTRY, attributes)
}

fn open(sealed: &[u8]) -> Result<Attributes, OpenError> {
    open_attributes(&keys(), &folder(), &ENTRY, sealed)
}

fn forge_name(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    forge(ObjectType::Name, &[], ENTRY.as_bytes(), &plaintext(0, length, length, bytes))
}

#[test]
fn a_name_is_bound_to_entry_and_folder() {
    let sealed = seal_name(&keys(), &folder(), &ENTRY, &name("report.txt"));
    assert_eq!(open_name(&keys(), &folder(), &ENTRY, &sealed), Ok(name("report.txt")));
    let refused = Err(OpenError::Authentication);
    assert_eq!(open_name(&keys(), &folder(), &OTHER, &sealed), refused);
    assert_eq!(open_name(&keys(), &other_folder(), &ENTRY, &sealed), refused);
    assert!(open_attributes(&keys(), &folder(), &ENTRY, &sealed).is_err());
}

#[test]
fn attributes_are_bound_to_entry_and_folder() {
    let sealed = seal(&file());
    assert_eq!(open(&sealed), Ok(file()));
    let refused = Err(OpenError::Authentication);
    assert_eq!(open_attributes(&keys(), &folder(), &OTHER, &sealed), refused);
    assert_eq!(open_attributes(&keys(), &other_folder(), &ENTRY, &sealed), refused);
    assert!(open_name(&keys(), &folder(), &ENTRY, &sealed).is_err());
}

#[test]
fn a_name_hides_its_length_within_32_bytes() {
    let sealed_len =
        |len: usize| seal_name(&keys(), &folder(), &ENTRY, &name(&"x".repeat(len))).len();
    for len in 1..=255 {
        assert_eq!(sealed_len(len), 67 + len.next_multiple_of(32), "{len}");
    }
    assert!(sealed_len(255) <= SEALED_NAME_BYTES_MAX);
}

#[test]
fn attributes_hide_the_digits_of_their_numbers() {
    let small = Attributes { mode: 0, mtime_ns: 0, size: 0, ..file() };
    assert_eq!(seal(&file()).len(), seal(&small).len());
}

#[test]
fn a_forged_name_that_is_no_name_is_refused() {
    for (bytes, error) in [
        (&b".."[..], NameError::Dots),
        (b"", NameError::Empty),
        (b"a/b", NameError::Separator),
        (b"a\0", NameError::Control),
        (b"\xff", NameError::NotUtf8),
        (b".driftless", NameError::Private),
    ] {
        let opened = open_name(&keys(), &folder(), &ENTRY, &forge_name(bytes));
        assert_eq!(opened, Err(OpenError::Name(error)));
    }
    let long = open_name(&keys(), &folder(), &ENTRY, &forge_name(&[b'x'; 256]));
    assert!(matches!(long, Err(OpenError::TooLarge { actual: 256, limit: 255, .. })));
    let compressed = plaintext(1, 1, 1, b"x");
    let compressed = forge(ObjectType::Name, &[], ENTRY.as_bytes(), &compressed);
    let opened = open_name(&keys(), &folder(), &ENTRY, &compressed);
    assert_eq!(opened, Err(OpenError::UnknownCodec(1)));
}

#[test]
fn bits_of_a_mode_that_must_not_travel_are_left_out() {
    let sealed = seal(&Attributes { mode: 0o6755, ..file() });
    assert_eq!(open(&sealed), Ok(Attributes { mode: 0o755, ..file() }));
}

#[test]
fn the_longest_target_fits() {
    let target = Some(vec![b'x'; SYMLINK_BYTES_MAX]);
    let link = Attributes { mode: 0, mtime_ns: i64::MIN, size: 0, target, ..file() };
    let sealed = seal(&link);
    assert!(sealed.len() <= ATTRIBUTES_BYTES_MAX);
    assert_eq!(open(&sealed), Ok(link));
}

#[test]
fn attributes_beyond_their_bounds_are_refused() {
    let size = FILE_BYTES_MAX + 1;
    let refused = OpenError::TooLarge { field: "size", actual: size, limit: FILE_BYTES_MAX };
    assert_eq!(open(&seal(&Attributes { size, ..file() })), Err(refused));
    assert!(open(&seal(&Attributes { size: u64::MAX, ..file() })).is_err());
    let with_target =
        |target: &[u8]| open(&seal(&Attributes { target: Some(target.to_vec()), ..file() }));
    assert!(matches!(with_target(b""), Err(OpenError::Malformed(_))));
    assert!(matches!(with_target(b"a\0b"), Err(OpenError::Malformed(_))));
    let long = with_target(&[b'x'; SYMLINK_BYTES_MAX + 1]);
    assert!(matches!(long, Err(OpenError::TooLarge { field: "symlink target", .. })));

    let forged = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap();
        let body = plaintext(0, length, length, message);
        open(&forge(ObjectType::Attributes, &[], ENTRY.as_bytes(), &body))
    };
    // Field 1, the mode, with setuid.
    let setuid = forged(&[0x08, 0xed, 0x13]);
    assert!(matches!(setuid, Err(OpenError::TooLarge { field: "mode", .. })), "{setuid:?}");
    assert!(matches!(forged(&[]), Err(OpenError::Id(_))));
    assert!(matches!(forged(&[0xff, 0xff]), Err(OpenError::Malformed(_))));
}

proptest! {
    #[test]
    fn a_name_opens_to_what_was_sealed(text in "[^/\\\\\\p{C}]{1,60}") {
        prop_assume!(Name::new(text.as_str()).is_ok());
        let sealed = seal_name(&keys(), &folder(), &ENTRY, &name(&text));
        prop_assert!(sealed.len() <= SEALED_NAME_BYTES_MAX);
        prop_assert_eq!(open_name(&keys(), &folder(), &ENTRY, &sealed), Ok(name(&text)));
    }

    #[test]
    fn attributes_open_to_what_was_sealed(
        mode in 0u16..=0o1777,
        mtime_ns: i64,
        size in 0..=FILE_BYTES_MAX,
        target in prop::option::of(prop::collection::vec(1u8.., 1..200)),
        tag: [u8; 32],
        restored: Option<u64>,
    ) {
        let tag = ContentTag::from_bytes(tag);
        let attributes = Attributes { mode, mtime_ns, size, target, tag, restored };
        prop_assert_eq!(open(&seal(&attributes)), Ok(attributes));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for code in [3, 4] {
            let headed = [&b"drft\x01"[..], &[code], &b"\x01\0\0\0"[..], &bytes].concat();
            for bytes in [&bytes, &headed] {
                prop_assert!(open_name(&keys(), &folder(), &ENTRY, bytes).is_err());
                prop_assert!(open(bytes).is_err());
            }
        }
    }

    #[test]
    fn any_forged_attributes_are_handled_without_a_panic(
        message in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let length = u32::try_from(message.len()).unwrap();
        let body = plaintext(0, length, length, &message);
        let _ = open(&forge(ObjectType::Attributes, &[], ENTRY.as_bytes(), &body));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let sealed_name = seal_name(&keys(), &folder(), &ENTRY, &name("a"));
    let sealed_attributes = seal(&file());
    let refuse = |name: &[u8], attributes: &[u8], what: usize| {
        assert!(open_name(&keys(), &folder(), &ENTRY, name).is_err(), "name {what}");
        assert!(open(attributes).is_err(), "attributes {what}");
    };
    for bit in 0..sealed_name.len().max(sealed_attributes.len()) * 8 {
        let flipped = |sealed: &[u8]| {
            let mut altered = sealed.to_vec();
            let bit = bit % (sealed.len() * 8);
            altered[bit / 8] ^= 1 << (bit % 8);
            altered
        };
        refuse(&flipped(&sealed_name), &flipped(&sealed_attributes), bit);
    }
    for keep in 0..sealed_attributes.len() {
        let name = &sealed_name[..keep % sealed_name.len()];
        refuse(name, &sealed_attributes[..keep], keep);
    }
}
