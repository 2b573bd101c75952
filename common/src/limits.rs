//! Every bound of the formats and protocols, in one place.
//!
//! Owns numbers only. A bound here is checked where bytes from outside are read. What one program
//! grants by itself (connections of a peer, lengths of its queues) is bounded in the room that
//! grants it. Units come last in a name.

/// Longest name of an entry, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path of an entry relative to its folder, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Deepest place that a group may give an entry, below a folder's root. What lies in a directory
/// that is moved comes along uncounted, as counting would visit all of it; so entries can come to
/// lie deeper. Nothing is placed among them there, and a device makes no path of more names.
pub const DEPTH_MAX: usize = 512;
/// Longest symlink target, in bytes.
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// Names are padded to a multiple of this before sealing, in bytes.
pub const NAME_PADDING_BYTES: usize = 32;

/// Smallest content-defined chunk but for the last of a file, in bytes.
pub const CHUNK_BYTES_MIN: u32 = 16 * 1024;
/// Average that the chunker aims for, in bytes.
pub const CHUNK_BYTES_AVG: u32 = 64 * 1024;
/// Largest chunk, in bytes of plaintext.
pub const CHUNK_BYTES_MAX: u32 = 256 * 1024;
/// Largest stored object of any type, in bytes: a chunk that does not shrink and its envelope.
pub const SEALED_BYTES_MAX: usize = CHUNK_BYTES_MAX as usize + 4096;
/// Entries of a manifest page, on average and at most.
pub const PAGE_ENTRIES_AVG: usize = 128;
/// Fewest entries of a manifest page but for the last of its level. It bounds the height: the 2^30
/// shortest chunks of the largest file take six levels of pages of 32.
pub const PAGE_ENTRIES_MIN: usize = PAGE_ENTRIES_AVG / 4;
/// Most entries of a manifest page.
pub const PAGE_ENTRIES_MAX: usize = 512;
/// Highest level of a manifest page; level 1 lists chunks.
pub const PAGE_LEVEL_MAX: u8 = 6;
/// Largest file, in bytes: what three levels of average pages hold, with room to spare.
pub const FILE_BYTES_MAX: u64 = 1 << 44;
/// Largest sealed attributes, in bytes: a symlink's target and the envelope.
pub const ATTRIBUTES_BYTES_MAX: usize = 8 * 1024;
/// Largest sealed name, in bytes.
pub const SEALED_NAME_BYTES_MAX: usize = 512;

/// Longest name of a label, in bytes of UTF-8.
pub const LABEL_NAME_BYTES_MAX: usize = 128;
/// Largest sealed name of a label, in bytes.
pub const SEALED_LABEL_NAME_BYTES_MAX: usize = 256;
/// Most labels of one folder.
pub const LABELS_MAX: usize = 1000;
/// Largest sealed preferences of a folder, in bytes.
pub const SEALED_PREFERENCES_BYTES_MAX: usize = 1024;
/// Days for which a folder's history is not thinned by settings that are new, so that they can be
/// taken back.
pub const RETENTION_GRACE_DAYS: u64 = 7;

/// Largest frame of a control stream, in bytes, its length prefix not counted.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Largest commit in all its parts, in bytes.
pub const COMMIT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most changes in one group.
pub const GROUP_CHANGES_MAX: usize = 512;
/// Most contents that one group sets on one entry: a device merges two. The versions of one revision
/// are told in one frame.
pub const GROUP_CONTENTS_MAX: usize = 16;
const _: () = {
    // A version has the attributes and the name that it set, and those of before.
    let version_bytes = 2 * (ATTRIBUTES_BYTES_MAX + SEALED_NAME_BYTES_MAX) + 1024;
    assert!(REPLY_BYTES_SOFT + GROUP_CONTENTS_MAX * version_bytes < FRAME_BYTES_MAX);
};
/// Largest signed group body, in bytes.
pub const GROUP_BYTES_MAX: usize = 768 * 1024;
/// Most groups in one commit.
pub const COMMIT_GROUPS_MAX: usize = 256;
/// Most objects that are looked at to prove what the groups of one commit name: twice what its pages
/// can list. Only groups that are refused have the same ones looked at again.
pub const COMMIT_OBJECTS_MAX: u64 = 4 * 1024 * 1024;
/// Most items of one receipt batch.
pub const RECEIPT_ITEMS_MAX: usize = 1024;
/// Most chunk ids in one HAVE request.
pub const HAVE_IDS_MAX: usize = 4096;
/// Most journal groups, snapshot entries or versions in one reply frame.
pub const REPLY_ITEMS_MAX: usize = 1000;
/// Most entries that are told to have had one name.
pub const NAMED_MAX: usize = 100;
/// Bytes of payload at which a reply frame is closed and the next begun.
pub const REPLY_BYTES_SOFT: usize = 256 * 1024;

/// Outcomes that the metadata service keeps for each device and incarnation.
pub const OUTCOMES_KEPT: u64 = 1024;

/// Largest record of a device log, in bytes.
pub const LOG_RECORD_BYTES_MAX: usize = 256 * 1024;
/// Most devices of one user, revoked ones included.
pub const DEVICES_MAX: usize = 1024;
/// Most records of a device log.
pub const LOG_RECORDS_MAX: usize = 16 * 1024;
/// The last records of a device log, which are kept for revocations: whatever a stolen device wrote,
/// every device can still be revoked.
pub const LOG_RECORDS_FOR_REVOCATIONS: usize = 1024;
/// Bytes of a device log over which no record but a revocation brings it. There are fewer
/// revocations than [`DEVICES_MAX`], so they are bounded too.
pub const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const _: () = assert!(LOG_RECORDS_FOR_REVOCATIONS >= DEVICES_MAX);
/// Largest sealed keyring, in bytes.
pub const KEYRING_BYTES_MAX: usize = 512 * 1024;
/// Largest invitation blob, in bytes.
pub const INVITATION_BYTES_MAX: usize = 256 * 1024;
/// Most folders of one user.
pub const FOLDERS_MAX: usize = 1024;
/// Most folders that one device syncs: each is a subscription on its connection, and threads, files
/// and a watch on its machine.
pub const FOLDERS_PER_DEVICE_MAX: usize = 256;
/// Most invitations of one user that are open at a time.
pub const INVITATIONS_OPEN_MAX: usize = 64;
/// Longest life of an invitation, in milliseconds: 30 days.
pub const INVITATION_LIFE_MS_MAX: u64 = 30 * 24 * 3600 * 1000;
/// Life of a capability, in milliseconds.
pub const CAPABILITY_LIFE_MS: u64 = 5 * 60 * 1000;
/// Longest device or folder label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// Request streams that a peer may have open on one connection, beside subscriptions.
pub const STREAMS_MAX: u32 = 64;
/// Connections that a server holds at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// Time within which a connection must finish its handshake, in milliseconds.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// Silence after which a connection is closed, in milliseconds.
pub const IDLE_MS_MAX: u64 = 30_000;
/// Interval of keep-alives from a device, in milliseconds.
pub const KEEP_ALIVE_MS: u64 = 8_000;
/// Time within which a request's next bytes must arrive, in milliseconds.
pub const READ_MS_MAX: u64 = 20_000;
/// Largest datagram that is tried and taken, in bytes: on a link that carries it (loopback, jumbo
/// frames) it costs a third less processor time than one of an ordinary frame.
pub const DATAGRAM_BYTES_MAX: u16 = 6_000;
/// Receive window of one stream, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Receive window of one connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 24 * 1024 * 1024;
/// Send window of one connection, in bytes.
pub const SEND_WINDOW_BYTES: u64 = 24 * 1024 * 1024;

/// Largest line of `.driftlessignore` that is read, in bytes.
pub const IGNORE_LINE_BYTES_MAX: usize = 4096;
/// Largest `.driftlessignore` that is read, in bytes.
pub const IGNORE_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most things that a bundle may hold: its index is read as a whole.
pub const BUNDLE_ITEMS_MAX: usize = 1 << 18;
/// Longest index of a bundle, in bytes.
pub const BUNDLE_INDEX_BYTES_MAX: u64 = 128 * 1024 * 1024;
