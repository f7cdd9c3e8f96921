-- Bronze: keep every payload once.
-- $1 run id, $2 time of ingest. Sorted, so that two writers lock rows in one order and cannot deadlock.
INSERT INTO raw_ticket_event
SELECT source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at, payload, $1, CAST($2 AS TIMESTAMPTZ)
FROM fresh_ticket
ORDER BY source_id, source_fingerprint
ON CONFLICT (source_id, source_fingerprint) DO NOTHING
