-- How the checks of given assets came out in their last runs.
-- Grain: one row for each asset × check × partition. Columns: asset_key, check_name, partition, results (verdicts, the
-- newest first), runs. Order: asset_key, check_name, partition.
-- Parameters: asset_keys.
SELECT asset_key, check_name, partition, results, runs FROM check_history
WHERE asset_key IN (SELECT unnest($asset_keys::VARCHAR[]))
ORDER BY asset_key, check_name, partition
