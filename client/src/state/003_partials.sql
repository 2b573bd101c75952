-- Downloads that were cut: the staged file that each goes on in, and what is known to be in it. Each
-- row of `partial_part` is a run of chunks as they came: start, id, length, hash of the plaintext.
DROP TABLE partial;
CREATE TABLE partial (entry BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE partial_part (number INTEGER PRIMARY KEY, entry BLOB NOT NULL, chunks BLOB NOT NULL);
CREATE INDEX partial_part_entry ON partial_part (entry);
