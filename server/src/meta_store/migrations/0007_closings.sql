-- When conflicts of an entry were closed, on either side.
CREATE INDEX conflicts_closed_by_entry ON conflicts (folder, entry, closed)
    WHERE closed IS NOT NULL;
CREATE INDEX conflicts_closed_by_copy ON conflicts (folder, copy, closed)
    WHERE closed IS NOT NULL;
