-- What the sealed log records as erased, whatever prefix is shown.
-- Grain: one row for each erasure. Columns: data (JSON text). Order: none. Parameters: paths (segment files).
SELECT data
FROM read_parquet($paths)
WHERE event_type = 'payload.erased.v1'
