-- The entries in files of the log that another tool wrote, whatever the order of their rows.
-- Grain: one row for each entry. Columns: index, entry. Order: index. Parameters: paths (files).
SELECT index, entry
FROM read_parquet($paths)
ORDER BY index
