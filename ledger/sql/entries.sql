-- The log itself: the exact bytes that were hashed.
-- Grain: one row for each entry. Order: none (ORDER BY index).
-- index: place in the log, from 0; NULL while the entry waits in the inbox
-- event_id: the event's identity, a UUID that sorts by time
-- entry: the canonical JSON bytes
-- leaf_hash: SHA-256(0x00 || entry), RFC 6962, hex
SELECT index, event_id, entry, sha256('\x00'::BLOB || entry) AS leaf_hash
FROM stored_entries
