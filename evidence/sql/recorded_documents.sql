-- What the log records of the documents of given runs.
-- Grain: one row for each recording. Order: index, what is not sealed last.
-- Columns: run_id, index (NULL while unsealed), data (JSON text).
-- Parameters: run_ids, recorded (an event type).
SELECT data->>'$.run_id' AS run_id, index, data::VARCHAR
FROM events
WHERE event_type = $recorded AND data->>'$.run_id' IN (SELECT unnest($run_ids::VARCHAR[]))
ORDER BY index NULLS LAST, event_id
