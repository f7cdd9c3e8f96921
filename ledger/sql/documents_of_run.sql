-- What was recorded of the documents of one run.
-- Grain: one row for each recording. Columns: data (JSON text). Order: none. Parameters: run_id.
SELECT data::VARCHAR
FROM events
WHERE event_type = 'document.derived.v1' AND data->>'$.run_id' = $run_id
