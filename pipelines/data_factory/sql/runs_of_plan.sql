-- The runs that were launched for a recovery plan, by the tag that they carry, and what they made.
-- Grain: one row for each run. Order: started_at, run_id.
-- Columns: run_id, partition, status, verdict, closed, parent_run_id, plan_sha256, inserted (new events in Bronze; NULL
--   where Bronze was not made), output_row_count (tickets in Silver; NULL where Silver was not made),
--   executed_by (who carried the plan out).
-- Parameters: plan_id, bronze, silver.
WITH launched AS (
    SELECT run_id, any_value(data->>'$.tags."recovery/plan_sha256"') AS plan_sha256,
        any_value(data->>'$.tags."recovery/executed_by"') AS executed_by
    FROM events
    WHERE event_type = 'run.seen.v1' AND data->>'$.tags."recovery/plan"' = $plan_id
    GROUP BY run_id
), made AS (
    SELECT run_id,
        arg_max(TRY_CAST(json_extract_string(metadata['counts'], '$.inserted') AS BIGINT), occurred_at)
            FILTER (asset_key = $bronze) AS inserted,
        arg_max(TRY_CAST(metadata['output_row_count'] AS BIGINT), occurred_at)
            FILTER (asset_key = $silver) AS output_row_count
    FROM materializations
    WHERE run_id IN (SELECT run_id FROM launched)
    GROUP BY run_id
)
SELECT r.run_id, r.partition, r.status, r.verdict, r.closed, r.parent_run_id, l.plan_sha256, m.inserted,
    m.output_row_count, l.executed_by
FROM launched AS l
JOIN runs AS r ON r.run_id = l.run_id
LEFT JOIN made AS m ON m.run_id = l.run_id
ORDER BY r.started_at, r.run_id
