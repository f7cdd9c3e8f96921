-- The latest state of every asset and partition, over closed runs. Absent is a state too.
-- Grain: one row for each asset × partition that was ever planned. Order: none.
-- asset_key: the asset
-- partition: the partition key
-- outcome: what the latest run that planned it came to
-- verdict: its place in the lattice
-- reason_code: why it is not passed
-- run_id: the latest run that planned it
-- run_ended_at: when that run ended, UTC
-- last_materialized_at: the newest materialization in any run, UTC; NULL when it never was
-- last_materialized_run_id: the run of that materialization
-- materializations: how often it was materialized
WITH latest AS (
    SELECT o.asset_key, o.partition, o.outcome, o.verdict, o.reason_code, o.run_id, r.ended_at AS run_ended_at
    FROM outcomes AS o
    JOIN runs AS r ON r.run_id = o.run_id
    WHERE o.check_name IS NULL
    QUALIFY row_number() OVER (PARTITION BY o.asset_key, o.partition ORDER BY r.ended_at DESC, o.run_id DESC) = 1
), made AS (
    SELECT asset_key, partition, max(occurred_at) AS last_materialized_at,
        arg_max(run_id, occurred_at) AS last_materialized_run_id, count(*) AS materializations
    FROM materializations GROUP BY asset_key, partition
)
SELECT l.*, m.last_materialized_at, m.last_materialized_run_id, coalesce(m.materializations, 0) AS materializations
FROM latest AS l
LEFT JOIN made AS m ON m.asset_key = l.asset_key AND m.partition IS NOT DISTINCT FROM l.partition
