-- The deleted entries of a folder: there are few among many.
CREATE INDEX entries_deleted ON entries (folder, entry) WHERE deleted = 1;
