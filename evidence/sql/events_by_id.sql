-- Given events.
-- Grain: one row for each event. Order: event_id.
-- Columns: run_id, index (NULL while unsealed), event_id, event_type, occurred_at (microseconds since 1970),
--   step_key, attempt, asset_key, partition, check_name, outcome, reason_code, data (JSON text).
-- Parameters: event_ids.
SELECT run_id, index, event_id, event_type, epoch_us(occurred_at), step_key, attempt, asset_key, partition,
    check_name, outcome, reason_code, data::VARCHAR
FROM events
WHERE event_id IN (SELECT unnest($event_ids::VARCHAR[]))
ORDER BY event_id
