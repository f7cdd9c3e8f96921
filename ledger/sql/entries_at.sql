-- The entries at given places, within a prefix of the log.
-- Grain: one row for each that is there. Columns: index, entry. Order: index.
-- Parameters: paths (segment files), indexes, size (of the prefix).
SELECT index, entry
FROM read_parquet($paths)
WHERE index IN (SELECT unnest($indexes::BIGINT[])) AND index < $size
ORDER BY index
