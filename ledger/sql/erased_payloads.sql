-- The payloads beside the log that were erased on record.
-- Grain: one row for each payload. Columns: sha256. Order: none.
SELECT DISTINCT data->>'$.erased_sha256' AS sha256
FROM events
WHERE event_type = 'payload.erased.v1' AND data->>'$.erased_sha256' IS NOT NULL
