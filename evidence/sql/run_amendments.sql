-- Corrections of events of given runs that count: neither withdrawn, nor the withdrawal of another.
-- Grain: one row for each correction. Order: run_id, recorded_at, event_id.
-- Columns: run_id, index (NULL while unsealed), event_id, action (amended or voided), target_event_id,
--   recorded_at (microseconds since 1970), actor, reason, changes (JSON text).
-- Parameters: run_ids.
SELECT run_id, index, event_id, action, target_event_id, epoch_us(recorded_at), actor, reason, changes::VARCHAR
FROM amendments
WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) AND NOT withdrawn
    AND target_event_id NOT IN (SELECT event_id FROM amendments)
ORDER BY run_id, recorded_at, event_id
