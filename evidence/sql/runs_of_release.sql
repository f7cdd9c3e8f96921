-- The runs of a release, as recorded: a correction takes no run out of it.
-- Grain: one row for each run. Order: run_id.
-- Columns: run_id.
-- Parameters: release_id.
SELECT DISTINCT run_id FROM events
WHERE release_id = $release_id AND run_id <> ''
ORDER BY run_id
