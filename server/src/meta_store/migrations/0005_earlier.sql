-- The entries of a folder in the order in which they were made: their numbers end each row.
CREATE INDEX entries_by_folder ON entries (folder);
