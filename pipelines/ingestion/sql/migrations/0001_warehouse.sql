-- The warehouse, on DuckDB and PostgreSQL alike. Tables that were made before there were migrations are adopted.
--
-- raw_ticket_event (Bronze): one row a distinct payload of a source. Rows are never changed.
-- customer_dim (Silver): one row a customer.
-- ticket_fact (Silver): one row a ticket, as of its newest version in Bronze.
-- ticket_quarantine: one row a refused line of a file. What the line says stays in the file.
-- raw_doc_asset: one row a source that was landed in the object store, as its newest manifest declares it.
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
CREATE TABLE IF NOT EXISTS ticket_quarantine (
    source_sha256  TEXT        NOT NULL,  -- of the file, hex
    line_number    BIGINT      NOT NULL,  -- from 1
    file_name      TEXT        NOT NULL,
    batch_id       TEXT,
    ticket_id      TEXT,                  -- where it could be read
    reason_codes   TEXT        NOT NULL,  -- sorted, comma-separated
    reason         TEXT        NOT NULL,
    ingest_run_id  TEXT,                  -- the run that met it first
    quarantined_at TIMESTAMPTZ,
    PRIMARY KEY (source_sha256, line_number)
);
CREATE TABLE IF NOT EXISTS raw_doc_asset (
    source_id       TEXT PRIMARY KEY,
    manifest_id     TEXT        NOT NULL,
    batch_id        TEXT        NOT NULL,
    asset_type      TEXT        NOT NULL,
    license_tag     TEXT        NOT NULL,
    owner           TEXT        NOT NULL,
    checksum_sha256 TEXT        NOT NULL,  -- of the bytes that were landed
    size_bytes      BIGINT      NOT NULL,
    object_key      TEXT        NOT NULL,  -- in the object store
    judgement       TEXT        NOT NULL,
    reason_codes    TEXT        NOT NULL,  -- sorted, comma-separated
    metadata_status TEXT        NOT NULL,
    pii_scan_status TEXT        NOT NULL,
    declared_at     TIMESTAMPTZ NOT NULL,  -- when its manifest was made
    release_id      TEXT,
    ingest_run_id   TEXT,
    ingested_at     TIMESTAMPTZ
);
