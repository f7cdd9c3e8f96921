-- What was done to the data of given assets, as recorded: the newest materialization by each run, and every wipe.
-- Grain: one row for each asset × partition × run, and one for each wipe. Order: occurred_at, event_id.
-- Columns: asset_key, partition, run_id (empty when it was reported from outside), event_id, event_type,
--   occurred_at (microseconds since 1970), wiped (JSON text of the partitions that a wipe names; NULL for all).
-- Parameters: asset_keys, partitions.
SELECT asset_key, partition, run_id, event_id, event_type, epoch_us(occurred_at),
    CASE WHEN event_type = 'asset.wiped.v1' THEN (data->'$.partition_keys')::VARCHAR END AS wiped
FROM events
WHERE event_type IN ('asset.materialized.v1', 'asset.wiped.v1')
    AND asset_key IN (SELECT unnest($asset_keys::VARCHAR[]))
    AND (event_type = 'asset.wiped.v1' OR partition IS NULL OR partition IN (SELECT unnest($partitions::VARCHAR[])))
QUALIFY event_type = 'asset.wiped.v1' OR row_number() OVER (
    PARTITION BY asset_key, partition, run_id, event_type ORDER BY occurred_at DESC, event_id DESC) = 1
ORDER BY occurred_at, event_id
