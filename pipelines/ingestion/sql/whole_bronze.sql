-- One row an event of the warehouse, by its key.
SELECT source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at, payload, ingest_run_id, ingested_at
FROM raw_ticket_event
ORDER BY source_id, source_fingerprint
