-- When a device was revoked; not known of those that were before this version.
ALTER TABLE devices ADD COLUMN revoked_ms INTEGER;
