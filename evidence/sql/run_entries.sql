-- The entries of one run, exactly as they are in the log.
-- Grain: one row for each entry. Columns: index, entry. Order: index.
-- Parameters: paths (segment files), size (entries of the log that count), run_id.
SELECT index, entry
FROM read_parquet($paths)
WHERE index < $size AND run_id = $run_id
ORDER BY index
