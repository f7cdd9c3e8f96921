-- Which runs may have another verdict because of entries from a place in the log on.
-- Grain: one row for each sealed event that can change what a run is shown as. Order: index.
-- Columns: index, run_id, opens (whether it is of a run that is only seen, so that there is no verdict yet),
--   records (how many the run has, where the event states it, else 0).
-- Parameters: from (the first index), limit.
SELECT index, run_id, event_type = 'run.seen.v1' AS opens,
    coalesce((data->>'$.ledger_records')::BIGINT, 0) AS records
FROM events
WHERE event_type IN ('run.seen.v1', 'run.closed.v1', 'run.reopened.v1') AND index >= $from
UNION ALL
SELECT index, run_id, false, 0
FROM amendments
WHERE run_id <> '' AND index >= $from
ORDER BY index
LIMIT $limit
