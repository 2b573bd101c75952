-- Metadata of a server, version 1. Users and folders have a short number of their own here, so that
-- no row repeats 32 bytes. Ids, tags and heads are blobs; memcmp is their order.

CREATE TABLE users (
    number          INTEGER PRIMARY KEY,
    id              BLOB    NOT NULL UNIQUE,
    created_ms      INTEGER NOT NULL,
    log_len         INTEGER NOT NULL DEFAULT 0,
    log_head        BLOB    NOT NULL,
    keyring_version INTEGER NOT NULL DEFAULT 0,
    keyring         BLOB    NOT NULL DEFAULT x'',
    bytes_max       INTEGER NOT NULL,
    entries_max     INTEGER NOT NULL,
    objects_max     INTEGER NOT NULL,
    versions_max    INTEGER NOT NULL,
    bytes           INTEGER NOT NULL DEFAULT 0,
    entries         INTEGER NOT NULL DEFAULT 0,
    objects         INTEGER NOT NULL DEFAULT 0,
    versions        INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE device_log (
    user     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    head     BLOB    NOT NULL,
    record   BLOB    NOT NULL,
    PRIMARY KEY (user, position)
);
CREATE INDEX device_log_by_head ON device_log (user, head);

CREATE TABLE devices (
    device   BLOB    NOT NULL PRIMARY KEY,
    user     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    revoked  INTEGER NOT NULL,
    seen_ms  INTEGER
) WITHOUT ROWID;
CREATE INDEX devices_by_user ON devices (user, device);

CREATE TABLE invitations (
    lookup     BLOB    NOT NULL PRIMARY KEY,
    user       INTEGER,          -- NULL: a bootstrap invitation
    expires_ms INTEGER NOT NULL,
    blob       BLOB    NOT NULL
);

CREATE TABLE folders (
    number              INTEGER PRIMARY KEY,
    id                  BLOB    NOT NULL UNIQUE,
    user                INTEGER NOT NULL,
    genesis             BLOB    NOT NULL,
    epoch               INTEGER NOT NULL,
    revision            INTEGER NOT NULL,
    head                BLOB    NOT NULL,
    time_ms             INTEGER NOT NULL,
    checkpoint_revision INTEGER,
    checkpoint          BLOB
);
CREATE INDEX folders_by_user ON folders (user, id);

CREATE TABLE epochs (
    folder   INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    head     BLOB    NOT NULL,
    PRIMARY KEY (folder, epoch)
) WITHOUT ROWID;

-- Marks outlive bodies that retention thins.
CREATE TABLE marks (
    folder   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    time_ms  INTEGER NOT NULL,
    device   BLOB    NOT NULL,
    head     BLOB    NOT NULL,
    PRIMARY KEY (folder, revision)
) WITHOUT ROWID;

CREATE TABLE bodies (
    folder    INTEGER NOT NULL,
    revision  INTEGER NOT NULL,
    signature BLOB    NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (folder, revision)
);

CREATE TABLE windows (
    folder      INTEGER NOT NULL,
    device      BLOB    NOT NULL,
    incarnation INTEGER NOT NULL, -- the bits of a u64
    first_seen  INTEGER NOT NULL,
    highest     INTEGER NOT NULL,
    closed      INTEGER NOT NULL,
    PRIMARY KEY (folder, device, incarnation)
) WITHOUT ROWID;

CREATE TABLE outcomes (
    folder      INTEGER NOT NULL,
    device      BLOB    NOT NULL,
    incarnation INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    digest      BLOB    NOT NULL,
    revision    INTEGER NOT NULL,
    time_ms     INTEGER,          -- of an accepted group, as is the epoch
    epoch       INTEGER,
    code        INTEGER,          -- of a rejected group, as are the rest
    change      INTEGER,
    entry       BLOB,
    message     TEXT,
    PRIMARY KEY (folder, device, incarnation, counter)
) WITHOUT ROWID;

-- Current registers without their sealed parts; those are in the newest version. The number keeps
-- versions of entries that were made together together: ids are random.
CREATE TABLE entries (
    number           INTEGER PRIMARY KEY,
    folder           INTEGER NOT NULL,
    entry            BLOB    NOT NULL,
    kind             INTEGER NOT NULL,
    place_revision   INTEGER NOT NULL,
    parent           BLOB    NOT NULL,
    name_tag         BLOB    NOT NULL,
    deleted          INTEGER NOT NULL,
    content_revision INTEGER NOT NULL
);
CREATE UNIQUE INDEX entries_by_id ON entries (folder, entry);
-- Not unique: within a group that swaps names, two entries have one until both are written.
CREATE INDEX entries_by_name ON entries (folder, parent, name_tag) WHERE deleted = 0;

CREATE TABLE places (
    entry    INTEGER NOT NULL, -- its number
    revision INTEGER NOT NULL,
    parent   BLOB    NOT NULL,
    name_tag BLOB    NOT NULL,
    name     BLOB    NOT NULL,
    deleted  INTEGER NOT NULL,
    PRIMARY KEY (entry, revision)
) WITHOUT ROWID;

CREATE TABLE contents (
    entry      INTEGER NOT NULL, -- its number
    revision   INTEGER NOT NULL,
    change     INTEGER NOT NULL,
    root       BLOB,
    level      INTEGER NOT NULL,
    tag        BLOB    NOT NULL,
    attributes BLOB    NOT NULL,
    PRIMARY KEY (entry, revision, change)
) WITHOUT ROWID;

CREATE TABLE objects (
    folder INTEGER NOT NULL,
    id     BLOB    NOT NULL,
    level  INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (folder, id)
) WITHOUT ROWID;

CREATE TABLE conflicts (
    folder     INTEGER NOT NULL,
    conflict   BLOB    NOT NULL,
    entry      BLOB    NOT NULL,
    base       INTEGER,
    theirs     INTEGER NOT NULL,
    copy       BLOB    NOT NULL,
    opened     INTEGER NOT NULL,
    time_ms    INTEGER NOT NULL,
    device     BLOB    NOT NULL,
    closed     INTEGER,
    resolution INTEGER,
    PRIMARY KEY (folder, conflict)
) WITHOUT ROWID;

CREATE TABLE service (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO service (name, value) VALUES ('generation', 0);
