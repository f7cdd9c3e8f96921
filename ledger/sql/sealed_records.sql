-- Which records of the given runs are sealed already.
-- Grain: one row for each record. Columns: store_id, run_id, storage_id, source_digest. Order: none.
-- Parameters: paths (segment files), run_ids, low and high (storage ids, both included).
SELECT store_id, run_id, storage_id, source_digest
FROM read_parquet($paths)
WHERE storage_id BETWEEN $low AND $high AND run_id IN (SELECT unnest($run_ids::VARCHAR[]))
