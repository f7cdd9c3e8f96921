-- How much of some runs is sealed, for the question whether Dagster may forget them.
-- Grain: one row for each run that has events. Order: none.
-- Columns: run_id, held (records of Dagster), closed_at (its last record's time when it was closed),
--   payloads (digests of payloads kept outside their entries), all_sealed.
-- Parameters: runs (run ids).
SELECT
    run_id,
    count(storage_id) AS held,
    max(occurred_at) FILTER (event_type = 'run.closed.v1') AS closed_at,
    list(data->>'$.blob_sha256') FILTER (data->>'$.blob_sha256' IS NOT NULL) AS payloads,
    bool_and(index IS NOT NULL) AS all_sealed
FROM events
WHERE run_id IN (SELECT unnest($runs::VARCHAR[]))
GROUP BY run_id
