-- Which of given assets were ever materialized, and in which partitions; by any run or from outside.
-- Grain: one row for each asset × partition. Columns: asset_key, partition. Order: asset_key, partition.
-- Parameters: asset_keys.
SELECT DISTINCT asset_key, partition FROM events
WHERE event_type = 'asset.materialized.v1' AND asset_key IN (SELECT unnest($asset_keys::VARCHAR[]))
ORDER BY asset_key, partition
