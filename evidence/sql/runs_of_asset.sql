-- The runs that set out to make an asset, and in which partitions.
-- Grain: one row for each run × partition. Order: none.
-- Columns: run_id, partition (NULL where the asset has none).
-- Parameters: asset_key.
WITH items AS (
    SELECT run_id,
        unnest(from_json(data->'$.items', '[{"asset_key":"VARCHAR","partition":"VARCHAR","kind":"VARCHAR"}]')) AS item
    FROM events WHERE event_type = 'plan.committed.v1'
)
SELECT run_id, item.partition FROM items
WHERE item.asset_key = $asset_key AND item.kind = 'materialize'
UNION
SELECT run_id, partition FROM events
WHERE event_type = 'asset.materialization_planned.v1' AND asset_key = $asset_key AND run_id <> ''
