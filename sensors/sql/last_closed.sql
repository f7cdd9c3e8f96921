-- The runs that were closed last.
-- Grain: one row for each of at most twenty runs. Order: the one closed last first.
-- Columns: run_id.
SELECT run_id
FROM events
WHERE event_type = 'run.closed.v1'
GROUP BY run_id
ORDER BY max(coalesce(index, 9223372036854775807)) DESC, run_id
LIMIT 20
