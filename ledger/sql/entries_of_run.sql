-- What is sealed of one run, within a prefix of the log.
-- Grain: one row for each entry. Columns: index, entry. Order: index.
-- Parameters: paths (segment files), run_id, size (of the prefix).
SELECT index, entry
FROM read_parquet($paths)
WHERE run_id = $run_id AND index < $size
ORDER BY index
