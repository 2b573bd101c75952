-- Version 1 of a folder's state on a device. Ids and hashes are blobs, times nanoseconds since 1970.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- On disk as last observed. `tag` is NULL until the bytes have been hashed since they last changed.
CREATE TABLE local (
    entry BLOB PRIMARY KEY, parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, device INTEGER NOT NULL, birth_ns INTEGER,
    mode INTEGER NOT NULL, links INTEGER NOT NULL,
    tag BLOB, root BLOB, level INTEGER NOT NULL DEFAULT 0, target BLOB,
    racy INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX local_position ON local (parent, name);
CREATE INDEX local_inode ON local (inode, device);
CREATE INDEX local_unhashed ON local (entry) WHERE tag IS NULL;
CREATE INDEX local_racy ON local (entry) WHERE racy != 0;

-- At the server as last heard. `broken` says why an entry cannot be shown to the planner.
CREATE TABLE remote (
    entry BLOB PRIMARY KEY, parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    tag BLOB NOT NULL, mode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL,
    root BLOB, level INTEGER NOT NULL, target BLOB,
    place_revision INTEGER NOT NULL, content_revision INTEGER NOT NULL,
    deleted INTEGER NOT NULL, place_hash BLOB NOT NULL, content_hash BLOB NOT NULL, broken TEXT
) WITHOUT ROWID;
CREATE INDEX remote_position ON remote (parent, name) WHERE deleted = 0;

-- The merge base. `held`: really materialised here.
CREATE TABLE synced (
    entry BLOB PRIMARY KEY, parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    tag BLOB NOT NULL, mode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    place_revision INTEGER NOT NULL, content_revision INTEGER NOT NULL, held INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX synced_position ON synced (parent, name);

-- Entries whose trees may differ.
CREATE TABLE dirty (entry BLOB PRIMARY KEY) WITHOUT ROWID;

-- Sealed id of each plaintext chunk met so far; `stored`: a node has acknowledged it once.
CREATE TABLE chunk (plain BLOB PRIMARY KEY, id BLOB NOT NULL, length INTEGER NOT NULL,
    stored INTEGER NOT NULL) WITHOUT ROWID;
-- Where a chunk's bytes lie on this disk.
CREATE TABLE location (entry BLOB NOT NULL, start INTEGER NOT NULL, id BLOB NOT NULL,
    length INTEGER NOT NULL, PRIMARY KEY (entry, start)) WITHOUT ROWID;
CREATE INDEX location_id ON location (id);

-- Groups that were or may have been sent and whose outcome is not known.
CREATE TABLE outbox (counter INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL,
    effects BLOB NOT NULL);

-- The journal's chain, for checking what other authors say they have seen.
CREATE TABLE head (revision INTEGER PRIMARY KEY, head BLOB NOT NULL);

CREATE TABLE conflict (
    conflict BLOB PRIMARY KEY, entry BLOB NOT NULL, base INTEGER, theirs INTEGER NOT NULL,
    copy BLOB NOT NULL, opened INTEGER NOT NULL, time_ms INTEGER NOT NULL, device BLOB NOT NULL
) WITHOUT ROWID;

-- Paths that are not synced, and why.
CREATE TABLE issue (path TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (path, source)) WITHOUT ROWID;

-- Directories that were deleted but are kept on disk for the ignored files in them.
CREATE TABLE residue (path TEXT PRIMARY KEY) WITHOUT ROWID;

-- Downloads that were cut: which chunks of a staged file are there already, one bit each.
CREATE TABLE partial (entry BLOB PRIMARY KEY, tag BLOB NOT NULL, name TEXT NOT NULL,
    present BLOB NOT NULL) WITHOUT ROWID;
