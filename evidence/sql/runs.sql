-- Runs of the ledger, newest first.
-- Grain: one row for each run. Order: started_at descending, then run_id.
-- Columns: run_id, job_name, status, partition, started_at, ended_at (microseconds since 1970), events,
--   late_events, first_index, last_index, trace_id, release_id, batch_id, store_id, closing (revision of the
--   last closing, 0 when there was none), reopening (revision that was reopened last).
-- Parameters: run_ids (NULL for every run), row_limit.
WITH closings AS (
    SELECT run_id,
        max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.closed.v1') AS closing,
        max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.reopened.v1') AS reopening
    FROM events WHERE event_type IN ('run.closed.v1', 'run.reopened.v1') GROUP BY run_id
)
SELECT r.run_id, r.job_name, r.status, r.partition, epoch_us(r.started_at), epoch_us(r.ended_at), r.events,
    r.late_events, r.first_index, r.last_index, r.trace_id, r.release_id, r.batch_id, r.store_id,
    coalesce(c.closing, 0), coalesce(c.reopening, 0)
FROM runs AS r
LEFT JOIN closings AS c ON c.run_id = r.run_id
WHERE $run_ids::VARCHAR[] IS NULL OR r.run_id IN (SELECT unnest($run_ids::VARCHAR[]))
ORDER BY r.started_at DESC, r.run_id
LIMIT $row_limit
