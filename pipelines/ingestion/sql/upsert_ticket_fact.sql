-- Silver: one row a ticket, its newest version.
-- $1 release id.
INSERT INTO ticket_fact
SELECT
    ticket_id, customer_id, status, priority, category, product_line, product_version, assignee_id, sla_tier,
    pii_level, quality_gate, owner, created_at, updated_at, resolved_at, sla_due_at, source_id,
    source_fingerprint, ingest_batch_id, $1
FROM newest_ticket
ON CONFLICT (ticket_id) DO UPDATE SET
    status = excluded.status,
    updated_at = excluded.updated_at,
    resolved_at = excluded.resolved_at,
    release_id = excluded.release_id,
    source_fingerprint = excluded.source_fingerprint
