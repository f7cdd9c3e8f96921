-- What became of every partition of an asset that the ledger knows, also where nobody declared which there are.
-- Grain: one row for each partition. Order: partition.
-- Columns: partition, state (as in the view `partitions`, and pending for every one that is not there and that a run
--   planned which is not closed), reason_code, run_id (each NULL where there is none).
-- Parameters: asset_key.
WITH known AS (
    SELECT partition, state, coalesce(reason_code, outcome) AS reason_code, run_id
    FROM partitions
    WHERE asset_key = $asset_key AND partition IS NOT NULL
), going_on AS (
    SELECT item.partition AS partition, max(run_id) AS run_id
    FROM (
        SELECT e.run_id, unnest(from_json(
            e.data->'$.items', '[{"asset_key":"VARCHAR","partition":"VARCHAR","kind":"VARCHAR"}]'
        )) AS item
        FROM events AS e JOIN runs AS r ON r.run_id = e.run_id AND NOT r.closed
        WHERE e.event_type = 'plan.committed.v1'
    )
    WHERE item.kind = 'materialize' AND item.asset_key = $asset_key AND item.partition IS NOT NULL
    GROUP BY item.partition
), both_known AS (
    SELECT coalesce(k.partition, g.partition) AS partition, k.state, k.reason_code,
        g.partition IS NOT NULL AND coalesce(k.state, 'missing') NOT IN ('materialized', 'stale') AS pending,
        CASE WHEN pending THEN g.run_id ELSE k.run_id END AS run_id
    FROM known AS k FULL JOIN going_on AS g ON g.partition = k.partition
)
SELECT partition, CASE WHEN pending THEN 'pending' ELSE state END, CASE WHEN NOT pending THEN reason_code END, run_id
FROM both_known
ORDER BY partition
