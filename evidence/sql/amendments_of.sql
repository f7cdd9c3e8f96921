-- Corrections of given events that count, whichever run they are of.
-- Grain: one row for each correction. Order: recorded_at, event_id.
-- Columns: index (NULL while unsealed), event_id, action (amended or voided), target_event_id,
--   recorded_at (microseconds since 1970), actor, reason, changes (JSON text).
-- Parameters: event_ids.
SELECT index, event_id, action, target_event_id, epoch_us(recorded_at), actor, reason, changes::VARCHAR
FROM amendments
WHERE target_event_id IN (SELECT unnest($event_ids::VARCHAR[])) AND NOT withdrawn
ORDER BY recorded_at, event_id
