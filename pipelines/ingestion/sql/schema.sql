-- The warehouse, on DuckDB and PostgreSQL alike. Run before every write; changes nothing that exists.
--
-- raw_ticket_event (Bronze): one row a distinct payload of a source. Rows are never changed.
-- customer_dim (Silver): one row a customer.
-- ticket_fact (Silver): one row a ticket, as of its newest version in Bronze.
--
-- Columns other than keys may be null on purpose: that required ones are not is for a check to find out,
-- not for the table to assert.
CREATE TABLE IF NOT EXISTS raw_ticket_event (
    source_id          TEXT        NOT NULL,
    source_fingerprint TEXT        NOT NULL,  -- SHA-256 of payload, hex
    ticket_id          TEXT        NOT NULL,
    ingest_batch_id    TEXT,
    created_at         TIMESTAMPTZ NOT NULL,  -- decides the daily partition
    payload            TEXT        NOT NULL,  -- canonical JSON
    ingest_run_id      TEXT,                  -- the run that brought it in
    ingested_at        TIMESTAMPTZ,
    PRIMARY KEY (source_id, source_fingerprint)
);
CREATE TABLE IF NOT EXISTS customer_dim (
    customer_id TEXT PRIMARY KEY,
    org_id      TEXT
);
CREATE TABLE IF NOT EXISTS ticket_fact (
    ticket_id          TEXT PRIMARY KEY,
    customer_id        TEXT NOT NULL REFERENCES customer_dim (customer_id),
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
    sla_due_at         TIMESTAMPTZ,
    source_id          TEXT,
    source_fingerprint TEXT,  -- of the version that status, updated_at and resolved_at come from
    ingest_batch_id    TEXT,
    release_id         TEXT   -- the data release that last changed the row
);
