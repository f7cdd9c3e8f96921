-- What begins with a text: runs, the newest first, or the keys of assets or partitions.
-- Grain: one row for each. Columns: it. Order: as said.
-- Parameters: kind (`run_id`, `asset_key` or `partition`), prefix, row_limit.
WITH named AS (
    SELECT CASE $kind WHEN 'run_id' THEN run_id WHEN 'asset_key' THEN asset_key ELSE partition END AS name, occurred_at
    FROM events
)
SELECT name FROM named
WHERE name <> '' AND starts_with(name, $prefix)
GROUP BY name
ORDER BY CASE WHEN $kind = 'run_id' THEN epoch_us(min(occurred_at)) END DESC, name
LIMIT $row_limit
