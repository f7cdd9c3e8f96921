-- The partitions of an asset and their states.
-- Grain: one row for each partition. Columns: partition, state, defined, outcome, reason_code, run_id, state_since
-- (microseconds since 1970), stale_by. Order: partition. Parameters: asset_key.
SELECT partition, state, defined, outcome, reason_code, run_id, epoch_us(state_since), stale_by
FROM partitions WHERE asset_key = $asset_key ORDER BY partition NULLS FIRST
