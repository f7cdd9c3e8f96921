-- One row a ticket of the warehouse, by its key.
SELECT
    ticket_id, customer_id, status, priority, category, product_line, product_version, assignee_id, sla_tier,
    pii_level, quality_gate, owner, created_at, updated_at, resolved_at, sla_due_at, source_id, source_fingerprint,
    ingest_batch_id, release_id
FROM ticket_fact
ORDER BY ticket_id
