-- Runs whose id starts with a text.
-- Grain: one row for each run. Columns: run_id. Order: run_id.
-- Parameters: prefix.
SELECT DISTINCT run_id FROM events WHERE run_id <> '' AND starts_with(run_id, $prefix) ORDER BY run_id
