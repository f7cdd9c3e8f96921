-- The last entry of a run, or of the whole log but for the records of documents that were derived from it.
-- Grain: one row. Columns: index; NULL where there is none.
-- Parameters: paths (segment files), size (entries of the log that count), run_id (or NULL), recorded (an event type).
SELECT max(index)
FROM read_parquet($paths)
WHERE index < $size AND CASE WHEN $run_id::VARCHAR IS NULL THEN event_type <> $recorded ELSE run_id = $run_id END
