-- The run before another of the same job and partition.
-- Grain: one row, none where there was no such run. Columns: run_id. Parameters: run_id.
SELECT b.run_id
FROM runs AS b JOIN runs AS a
    ON a.job_name IS NOT DISTINCT FROM b.job_name AND a.partition IS NOT DISTINCT FROM b.partition
    AND (b.started_at, b.run_id) < (a.started_at, a.run_id)
WHERE a.run_id = $run_id
ORDER BY b.started_at DESC, b.run_id DESC
LIMIT 1
