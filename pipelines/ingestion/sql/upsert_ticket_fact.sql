-- Silver: one row a ticket. Returns one row a ticket inserted or changed: ticket_id.
-- $1 release id.
--
-- The newest version wins, by the time it dates from and, within one instant, by its fingerprint: whatever the
-- order versions arrive in, status, updated_at and resolved_at end the same, and a late older version changes
-- nothing.
INSERT INTO ticket_fact
SELECT
    ticket_id, customer_id, status, priority, category, product_line, product_version, assignee_id, sla_tier,
    pii_level, quality_gate, owner, created_at, updated_at, resolved_at, sla_due_at, source_id,
    source_fingerprint, ingest_batch_id, $1
FROM (
    SELECT
        incoming_ticket.*,
        row_number() OVER (
            PARTITION BY ticket_id
            ORDER BY coalesce(updated_at, created_at) DESC, source_fingerprint DESC
        ) AS place
    FROM incoming_ticket
) AS ranked
WHERE place = 1
ORDER BY ticket_id
ON CONFLICT (ticket_id) DO UPDATE SET
    status = excluded.status,
    updated_at = excluded.updated_at,
    resolved_at = excluded.resolved_at,
    release_id = excluded.release_id,
    source_fingerprint = excluded.source_fingerprint
WHERE
    (coalesce(excluded.updated_at, excluded.created_at), excluded.source_fingerprint)
    > (coalesce(ticket_fact.updated_at, ticket_fact.created_at), ticket_fact.source_fingerprint)
RETURNING ticket_id
