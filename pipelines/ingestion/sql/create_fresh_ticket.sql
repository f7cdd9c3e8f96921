-- fresh_ticket: one row a payload of the batch that Bronze does not have; lives as long as the connection.
CREATE TEMPORARY TABLE fresh_ticket AS
SELECT DISTINCT ON (source_id, source_fingerprint)
    source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at, payload
FROM incoming_ticket AS incoming
WHERE NOT EXISTS (
    SELECT 1 FROM raw_ticket_event AS event
    WHERE event.source_id = incoming.source_id AND event.source_fingerprint = incoming.source_fingerprint
)
ORDER BY source_id, source_fingerprint
