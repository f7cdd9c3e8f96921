-- The entries of events, within a prefix of the log.
-- Grain: one row for each of these events that is there. Columns: event_id, index, entry. Order: index.
-- Parameters: paths (segment files), ids, size (of the prefix).
SELECT event_id, index, entry
FROM read_parquet($paths)
WHERE event_id IN (SELECT unnest($ids::VARCHAR[])) AND index < $size
ORDER BY index
