-- `decisive_events` of a ledger that keeps no payload outside its entry, so that nothing has to be looked up.
-- Grain: one row for each event. Columns: those of `decisive_events`. Order: none.
SELECT * EXCLUDE (entry, place, data),
    CASE WHEN starts_with(data, '{"blob_sha256":') AND event_type IN ('run.seen.v1', 'plan.committed.v1',
        'outcomes.derived.v1', 'run.closed.v1', 'run.reopened.v1', 'event.amended.v1', 'event.voided.v1',
        'payload.erased.v1')
    THEN error(format('blobs/{}, the payload of {} {}, is missing', substr(data, 17, 64), event_type, event_id))
    ELSE data END::JSON AS data
FROM all_entries
