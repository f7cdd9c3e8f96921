-- Bronze: keep every payload once, repeats inside the batch included.
-- $1 run id, $2 time of ingest.
INSERT INTO raw_ticket_event
SELECT source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at, payload, $1, CAST($2 AS TIMESTAMPTZ)
FROM incoming_ticket
ON CONFLICT (source_id, source_fingerprint) DO NOTHING
