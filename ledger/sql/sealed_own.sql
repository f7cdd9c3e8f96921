-- Which of the given events of the ledger's own are sealed already.
-- Grain: one row for each event_id found. Columns: event_id, source_digest. Order: none.
-- Parameters: paths (segment files), ids (event ids).
SELECT event_id, source_digest
FROM read_parquet($paths)
WHERE storage_id IS NULL AND event_id IN (SELECT unnest($ids::VARCHAR[]))
