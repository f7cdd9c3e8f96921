-- Runs of which a part of the plan is a payload in a file of its own.
-- Grain: one row for each run. Order: run_id.
-- Columns: run_id.
SELECT DISTINCT run_id FROM events
WHERE event_type = 'plan.committed.v1' AND (data->'$.items') IS NULL
ORDER BY run_id
