-- One row a source that has a cursor: source_id, cursor_at, watermark_at. Order: source_id.
-- $1: array of source ids.
SELECT source_id, cursor_at, watermark_at
FROM ingest_cursor
WHERE source_id IN (SELECT unnest(CAST($1 AS TEXT[])))
ORDER BY source_id
