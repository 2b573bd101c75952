-- Labels, settings and retention. Windows of retention are the bits of a u64: one without an end is
-- its largest number, and devices hash what they are told.

CREATE TABLE settings (
    folder      INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL,
    keep_all_ms INTEGER NOT NULL,
    daily_ms    INTEGER NOT NULL,
    monthly_ms  INTEGER NOT NULL,
    sealed      BLOB    NOT NULL,
    PRIMARY KEY (folder, revision)
) WITHOUT ROWID;

CREATE TABLE labels (
    folder INTEGER NOT NULL,
    label  BLOB    NOT NULL,
    at     INTEGER NOT NULL,
    added  INTEGER NOT NULL,
    name   BLOB    NOT NULL,
    PRIMARY KEY (folder, label)
) WITHOUT ROWID;

-- Moments before a folder's horizon that are whole.
CREATE TABLE kept (
    folder   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (folder, revision)
) WITHOUT ROWID;
ALTER TABLE folders ADD COLUMN horizon INTEGER NOT NULL DEFAULT 1;

-- The revision that replaced a version, where that one has been released.
ALTER TABLE places ADD COLUMN until INTEGER;
ALTER TABLE contents ADD COLUMN until INTEGER;
-- Whether a content has been released itself: then it has no root.
ALTER TABLE contents ADD COLUMN released INTEGER NOT NULL DEFAULT 0;

CREATE INDEX conflicts_open_by_entry ON conflicts (folder, entry) WHERE closed IS NULL;
CREATE INDEX conflicts_open_by_copy ON conflicts (folder, copy) WHERE closed IS NULL;
