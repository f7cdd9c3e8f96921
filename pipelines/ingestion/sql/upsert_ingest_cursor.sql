-- Move the cursors of sources forward; one that is further already stays.
-- $1: array of source ids; $2 cursor, $3 watermark, $4 manifest id, $5 batch id, $6 run id, $7 time of the write.
INSERT INTO ingest_cursor
SELECT unnest(CAST($1 AS TEXT[])), CAST($2 AS TIMESTAMPTZ), CAST($3 AS TIMESTAMPTZ), $4, $5, $6, CAST($7 AS TIMESTAMPTZ)
ON CONFLICT (source_id) DO UPDATE SET
    cursor_at = excluded.cursor_at,
    watermark_at = greatest(excluded.watermark_at, ingest_cursor.watermark_at),
    manifest_id = excluded.manifest_id,
    batch_id = excluded.batch_id,
    ingest_run_id = excluded.ingest_run_id,
    moved_at = excluded.moved_at
WHERE excluded.cursor_at > ingest_cursor.cursor_at
