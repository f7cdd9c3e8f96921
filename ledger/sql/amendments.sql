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
WITH corrections AS MATERIALIZED (
    -- Two scans for one type each: DuckDB skips what has none of it, which for a list of types it does not.
    SELECT index, event_id, recorded_at, 'amended' AS action, data, run_id
    FROM decisive_events WHERE event_type = 'event.amended.v1'
    UNION ALL
    SELECT index, event_id, recorded_at, 'voided' AS action, data, run_id
    FROM decisive_events WHERE event_type = 'event.voided.v1'
)
SELECT index, event_id, recorded_at, action, data->>'$.target_event_id' AS target_event_id,
    data->>'$.actor' AS actor, data->>'$.reason' AS reason, data->'$.changes' AS changes,
    event_id IN (SELECT data->>'$.target_event_id' FROM corrections WHERE action = 'voided') AS withdrawn,
    run_id
FROM corrections
