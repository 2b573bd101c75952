//! Properties of the sealed formats, and what a hostile author or server may send.
//!
//! Owns test data and a forger: someone who holds the folder's keys and seals what no honest
//! device would. It must not repeat what the golden tests pin.

mod cutting;
mod entries;
mod pages;
mod pieces;

use super::envelope::{self, Binding};
use super::{ObjectType, body};
use crate::ids::FolderId;
use crate::keys::FolderKeys;

fn keys() -> FolderKeys {
    FolderKeys::new([1; 32], [2; 32])
}

fn folder() -> FolderId {
    FolderId::from_bytes([3; 32])
}

fn other_folder() -> FolderId {
    FolderId::from_bytes([4; 32])
}

/// Bytes that do not compress, the same for one seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that compress well.
fn prose(len: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut line: u64 = 0;
    while text.len() < len {
        line += 1;
        text.push_str(&format!("{line}: the value of {} is {}\n", line * 7919 % 101, line * line));
    }
    text.truncate(len);
    text.into_bytes()
}

/// A plaintext with lengths of the forger's choice.
fn plaintext(codec: u8, decoded: u32, length: u32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![codec];
    bytes.extend_from_slice(&decoded.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    assert_eq!(bytes.len(), body::BODY_HEADER_BYTES);
    bytes.extend_from_slice(rest);
    bytes
}

/// Seals any plaintext as any object, with any clear bytes.
fn forge(object: ObjectType, clear: &[u8], bound: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let keys = keys();
    let folder = folder();
    let (epoch, pair) = keys.current_sealing(object);
    let binding = Binding { object, folder: &folder, epoch, bound };
    let mut hashed = Vec::new();
    let plaintext_at = binding.begin(&mut hashed);
    hashed.extend_from_slice(plaintext);
    envelope::seal(pair, &binding, clear, &hashed, plaintext_at)
}
