-- Version 4: what the guard against mass deletion knows from one plan to the next. Times are milliseconds
-- since 1970.
CREATE TABLE let_through (entry BLOB PRIMARY KEY, from_remote INTEGER NOT NULL,
    time_ms INTEGER NOT NULL) WITHOUT ROWID;
-- The mass deletion that a person is asked about, if there is one, and what would go.
CREATE TABLE mass_deletion (number INTEGER PRIMARY KEY CHECK (number = 1), held INTEGER NOT NULL,
    lately INTEGER NOT NULL, from_remote INTEGER NOT NULL, since_ms INTEGER NOT NULL);
CREATE TABLE mass_deleted (entry BLOB PRIMARY KEY) WITHOUT ROWID;
