-- Version 5: what is being put in place: how it looks in staging, under which name, and which content of the
-- server it is. `content_revision` is 0 when it says nothing of the merge base.
CREATE TABLE placing (staged TEXT PRIMARY KEY, entry BLOB NOT NULL, inode INTEGER NOT NULL,
    device INTEGER NOT NULL, birth_ns INTEGER, kind INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, tag BLOB NOT NULL, mode INTEGER NOT NULL, content_mtime_ns INTEGER NOT NULL,
    content_revision INTEGER NOT NULL) WITHOUT ROWID;
