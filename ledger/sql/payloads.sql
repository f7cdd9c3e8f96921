-- Payloads that are kept outside their entries because they are large or personal. An erased one leaves its digest.
-- Grain: one row for each event whose payload is not in its entry. Order: none (ORDER BY index).
-- index: place in the log, from 0; NULL while the event waits in the inbox
-- event_id: the event
-- run_id: the run
-- event_type: what happened
-- sha256: the payload's SHA-256, its name under blobs/
-- size_bytes: its size
-- erased: whether it was erased, on record
-- erased_at: when that was recorded, UTC
-- erased_by: who erased it, as they said
-- reason: why it was erased
WITH erasures AS (
    SELECT data->>'$.erased_sha256' AS sha256, min(recorded_at) AS erased_at,
        arg_min(data->>'$.actor', recorded_at) AS erased_by, arg_min(data->>'$.reason', recorded_at) AS reason
    FROM decisive_events WHERE event_type = 'payload.erased.v1'
    GROUP BY 1
), kept AS (
    SELECT index, event_id, run_id, event_type, data->>'$.blob_sha256' AS sha256,
        (data->>'$.blob_size_bytes')::BIGINT AS size_bytes
    FROM all_entries WHERE starts_with(data, '{"blob_sha256":')
)
SELECT k.index, k.event_id, k.run_id, k.event_type, k.sha256, k.size_bytes,
    e.sha256 IS NOT NULL AS erased, e.erased_at, e.erased_by, e.reason
FROM kept AS k
LEFT JOIN erasures AS e ON e.sha256 = k.sha256
