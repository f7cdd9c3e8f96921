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
UNION ALL  -- who holds a delivery, or lets it proceed, changes the decision on its run
SELECT index, data->>'$.run_id', false, 0
FROM events
WHERE event_type = 'delivery.signed_off.v1' AND data->>'$.run_id' <> '' AND index >= $from
UNION ALL  -- and so does who withdraws that
SELECT amendments.index, events.data->>'$.run_id', false, 0
FROM amendments JOIN events ON events.event_id = amendments.target_event_id
WHERE events.event_type = 'delivery.signed_off.v1' AND events.data->>'$.run_id' <> '' AND amendments.index >= $from
ORDER BY index
LIMIT $limit
