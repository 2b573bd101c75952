-- Which entries changed at which revision: the folder's timeline.
CREATE TABLE changes (
    folder   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    entry    INTEGER NOT NULL, -- its number
    PRIMARY KEY (folder, revision, entry)
) WITHOUT ROWID;
INSERT OR IGNORE INTO changes (folder, revision, entry)
    SELECT e.folder, p.revision, p.entry FROM places p JOIN entries e ON e.number = p.entry;
INSERT OR IGNORE INTO changes (folder, revision, entry)
    SELECT e.folder, c.revision, c.entry FROM contents c JOIN entries e ON e.number = c.entry;

-- Which entries ever had a name. Tags are hashes, keyed, of directory and name together: eight
-- bytes find them, and what is found is compared whole.
CREATE INDEX places_by_name ON places (substr(name_tag, 1, 8));

-- What devices have told that they hold.
CREATE TABLE positions (
    folder   INTEGER NOT NULL,
    device   BLOB    NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (folder, device)
) WITHOUT ROWID;

CREATE INDEX conflicts_by_closed ON conflicts (folder, closed) WHERE closed IS NOT NULL;
