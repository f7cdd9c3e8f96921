-- The entry that records the digest of a document, within a prefix of the log.
-- Grain: one row for each such entry. Columns: index, entry. Order: index.
-- Parameters: paths (segment files), sha256 (hex), size (of the prefix).
SELECT index, entry
FROM read_parquet($paths)
WHERE event_type = 'document.derived.v1' AND contains(data, $sha256) AND index < $size
ORDER BY index
