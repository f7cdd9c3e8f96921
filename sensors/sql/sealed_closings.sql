-- What was sealed last about the closing of some runs, and how many records of theirs are sealed.
-- Grain: one row for each run that was closed. Order: none.
-- Columns: run_id, held (records of Dagster), closed (the entry of the last `run.closed.v1`).
-- Parameters: paths (segment files), run_ids.
SELECT
    run_id,
    count(storage_id) AS held,
    arg_max(entry, index) FILTER (event_type = 'run.closed.v1') AS closed
FROM read_parquet($paths)
WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
GROUP BY run_id
HAVING closed IS NOT NULL
