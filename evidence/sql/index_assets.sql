-- The latest state of every asset and partition, for an index.
-- Grain: one row for each asset × partition. Columns: asset_key, partition, verdict, outcome, run_id.
-- Order: asset_key, partition. Parameters: none.
SELECT asset_key, partition, verdict, outcome, run_id FROM assets ORDER BY asset_key, partition
