-- Corrections: what was amended or voided, by whom and why. The events they are about stay as they were recorded.
-- Grain: one row for each correction. Order: none (ORDER BY recorded_at).
-- index: place in the log, from 0; NULL while it waits in the inbox
-- event_id: the correction's own identity
-- recorded_at: when it was recorded, UTC
-- action: amended or voided
-- target_event_id: the event it is about
-- actor: who corrected it, as they said
-- reason: why
-- changes: columns and the values that hold instead, JSON; empty for a void
-- withdrawn: whether this amendment was voided itself, so that it no longer counts
-- run_id: the run of the event it is about
WITH corrections AS (
    SELECT index, event_id, recorded_at, split_part(event_type, '.', 2) AS action,
        data->>'$.target_event_id' AS target_event_id, data->>'$.actor' AS actor, data->>'$.reason' AS reason,
        data->'$.changes' AS changes, run_id
    FROM events WHERE event_type IN ('event.amended.v1', 'event.voided.v1')
)
SELECT index, event_id, recorded_at, action, target_event_id, actor, reason, changes,
    event_id IN (SELECT target_event_id FROM corrections WHERE action = 'voided') AS withdrawn,
    run_id
FROM corrections
