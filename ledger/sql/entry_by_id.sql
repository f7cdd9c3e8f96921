-- One sealed event. The comparison is with one value, so that statistics keep most row groups closed.
-- Grain: one row. Columns: index, entry. Parameters: paths (segment files), id (event id), size (of the prefix).
SELECT index, entry
FROM read_parquet($paths)
WHERE event_id = $id AND index < $size
