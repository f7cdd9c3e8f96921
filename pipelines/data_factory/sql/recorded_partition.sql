-- What the newest run that made an asset's partition said of it.
-- Grain: one row for each of the assets that was made. Order: asset_key.
-- Columns: asset_key, run_id, output_row_count, output_snapshot_id, source_snapshot_id (each a text, empty where it said nothing).
-- Parameters: asset_keys, partition.
SELECT
    asset_key,
    arg_max(run_id, occurred_at),
    arg_max(coalesce(metadata['output_row_count'], ''), occurred_at),
    arg_max(coalesce(metadata['output_snapshot_id'], ''), occurred_at),
    arg_max(coalesce(metadata['source_snapshot_id'], ''), occurred_at)
FROM materializations
WHERE asset_key IN (SELECT unnest($asset_keys::VARCHAR[])) AND partition = $partition
GROUP BY asset_key
ORDER BY asset_key
