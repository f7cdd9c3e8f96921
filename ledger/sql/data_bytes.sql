-- How much the data of all entries is, decompressed.
-- Grain: one row. Columns: size_bytes (NULL where there is no entry).
SELECT sum(strlen(data)) AS size_bytes
FROM all_entries
