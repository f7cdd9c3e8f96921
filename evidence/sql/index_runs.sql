-- Every run with its verdict, for an index.
-- Grain: one row for each run. Columns: run_id, job_name, partition, status, verdict, reason, started_at (microseconds
-- since 1970), passed, planned, first_index. Order: the newest first. Parameters: none.
SELECT run_id, coalesce(job_name, ''), coalesce(partition, ''), status, verdict, coalesce(reason, ''),
    epoch_us(started_at), coalesce(passed, 0), coalesce(planned, 0) + coalesce(unplanned, 0), first_index
FROM runs ORDER BY started_at DESC, run_id
