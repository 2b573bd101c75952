-- Version 2: why each register of a remote entry cannot be read, so that a later value that can be
-- read mends it. Of what is broken already it is not known which register it was.
ALTER TABLE remote ADD COLUMN place_issue TEXT;
ALTER TABLE remote ADD COLUMN content_issue TEXT;
UPDATE remote SET place_issue = broken, content_issue = broken
    WHERE broken IS NOT NULL AND broken != 'ignored';
