-- Which runs were closed from a place in the log on, a run each time it was.
-- Grain: one row for each sealed `run.closed.v1`. Order: index.
-- Columns: index, run_id.
-- Parameters: job (a job's name; NULL for all), from (the first index).
SELECT index, run_id
FROM events
WHERE event_type = 'run.closed.v1' AND ($job IS NULL OR job_name = $job) AND index >= $from
ORDER BY index
