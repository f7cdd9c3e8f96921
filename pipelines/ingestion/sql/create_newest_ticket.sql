-- newest_ticket: one row a ticket of the batch that Silver lacks or has an older version of: its newest version, and
-- whether Silver has the ticket. Lives as long as the connection.
--
-- The newest version wins, by the time it dates from and, within one instant, by its fingerprint: whatever the
-- order versions arrive in, status, updated_at and resolved_at end the same, and a late older version changes
-- nothing.
CREATE TEMPORARY TABLE newest_ticket AS
SELECT ranked.*, fact.ticket_id IS NOT NULL AS is_known
FROM (
    SELECT
        ticket_id, customer_id, status, priority, category, product_line, product_version, assignee_id, sla_tier,
        pii_level, quality_gate, owner, created_at, updated_at, resolved_at, sla_due_at, source_id,
        source_fingerprint, ingest_batch_id,
        row_number() OVER (
            PARTITION BY ticket_id
            ORDER BY coalesce(updated_at, created_at) DESC, source_fingerprint DESC
        ) AS place
    FROM incoming_ticket
) AS ranked
LEFT JOIN ticket_fact AS fact ON fact.ticket_id = ranked.ticket_id
WHERE
    ranked.place = 1
    AND (
        fact.ticket_id IS NULL
        OR (coalesce(ranked.updated_at, ranked.created_at), ranked.source_fingerprint)
        > (coalesce(fact.updated_at, fact.created_at), fact.source_fingerprint)
    )
