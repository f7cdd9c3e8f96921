-- What is sealed about the given runs: the orchestrator's records, and the ledger's own events in full.
-- Grain: one row for each event. Order: index.
-- Columns: run_id, storage_id (NULL for the ledger's own), store_id, source_digest, event_type, entry (own only).
-- Parameters: paths (segment files), run_ids.
SELECT run_id, storage_id, store_id, source_digest, event_type, CASE WHEN storage_id IS NULL THEN entry END
FROM read_parquet($paths)
WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
ORDER BY index
