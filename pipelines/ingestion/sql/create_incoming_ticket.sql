-- incoming_ticket: one row a ticket read from the batch, repeats included; lives as long as the connection.
CREATE TEMPORARY TABLE incoming_ticket (
    source_id          TEXT,
    source_fingerprint TEXT,
    payload            TEXT,
    ticket_id          TEXT,
    ingest_batch_id    TEXT,
    customer_id        TEXT,
    org_id             TEXT,
    status             TEXT,
    priority           TEXT,
    category           TEXT,
    product_line       TEXT,
    product_version    TEXT,
    assignee_id        TEXT,
    sla_tier           TEXT,
    pii_level          TEXT,
    quality_gate       TEXT,
    owner              TEXT,
    created_at         TIMESTAMPTZ,
    updated_at         TIMESTAMPTZ,
    resolved_at        TIMESTAMPTZ,
    sla_due_at         TIMESTAMPTZ
);
