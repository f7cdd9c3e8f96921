-- What became of every partition of an asset that the ledger knows.
-- Grain: one row for each partition. Order: partition.
-- Columns: partition, state (as in the view `partitions`), reason_code, run_id (each NULL where there is none).
-- Parameters: asset_key.
SELECT partition, state, coalesce(reason_code, outcome), run_id
FROM partitions
WHERE asset_key = $asset_key AND partition IS NOT NULL
ORDER BY partition
