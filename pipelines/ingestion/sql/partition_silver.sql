-- One row a ticket of a partition, unordered. The data release is left out: it says who wrote a row, not
-- what is in it.
-- $1 start of the day, $2 start of the next.
SELECT
    ticket_id, customer_id, status, priority, category, product_line, product_version, assignee_id, sla_tier,
    pii_level, quality_gate, owner, source_id, source_fingerprint, ingest_batch_id,
    created_at, updated_at, resolved_at, sla_due_at
FROM ticket_fact
WHERE created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)
