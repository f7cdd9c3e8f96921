-- Events for the views that a verdict rests on: where a payload of these types cannot be read, the view cannot either.
-- It opens the payloads of no other type.
-- Grain: one row for each event. Columns: those of `events`, but `payload`. Order: none.
SELECT e.* EXCLUDE (entry, place, data),
    coalesce(b.text, CASE WHEN b.problem IS NOT NULL
        THEN error(format('blobs/{}, the payload of {} {}, is {}', b.sha256, e.event_type, e.event_id, b.problem))
        END::JSON, e.data::JSON) AS data
FROM all_entries AS e
LEFT JOIN (
    SELECT * FROM payloads_beside
    WHERE event_type IN ('run.seen.v1', 'plan.committed.v1', 'outcomes.derived.v1', 'run.closed.v1', 'run.reopened.v1',
        'event.amended.v1', 'event.voided.v1', 'payload.erased.v1')
) AS b ON b.place = e.place
