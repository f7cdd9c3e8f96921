-- Which runs planned which partitions of the data factory's assets.
-- Grain: one row for each run × partition. Order: partition, run_id.
-- Columns: run_id, partition, has_product (whether the product asset itself was planned).
-- Parameters: prefix (of the asset keys), product (asset key).
WITH items AS (
    SELECT run_id,
        unnest(from_json(data->'$.items', '[{"asset_key":"VARCHAR","partition":"VARCHAR","kind":"VARCHAR"}]')) AS item
    FROM events WHERE event_type = 'plan.committed.v1'
)
SELECT run_id, item.partition, bool_or(item.asset_key = $product) AS has_product
FROM items
WHERE item.kind = 'materialize' AND item.partition IS NOT NULL AND starts_with(item.asset_key, $prefix)
GROUP BY run_id, item.partition
ORDER BY item.partition, run_id
