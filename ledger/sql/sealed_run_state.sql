-- What is sealed about the given runs: the orchestrator's records, and the ledger's own events in full.
-- Grain: one row for each event. Order: index.
-- Columns: run_id, storage_id and store_id (a record's), source_digest, entry (the ledger's own only, else NULL).
-- Parameters: paths (segment files), run_ids.
SELECT run_id, storage_id, store_id, source_digest, CASE WHEN storage_id IS NULL THEN entry END
FROM read_parquet($paths)
WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
ORDER BY index
