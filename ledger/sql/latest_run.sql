-- The run that started last.
-- Grain: one row, none where there is no run. Columns: run_id.
SELECT run_id
FROM events
WHERE run_id <> ''
GROUP BY run_id
ORDER BY coalesce(min(occurred_at) FILTER (event_type = 'run.started.v1'), min(occurred_at)) DESC, run_id DESC
LIMIT 1
