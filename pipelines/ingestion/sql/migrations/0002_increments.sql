-- What is delivered increment by increment: how far each source was taken, and which partitions changed behind that.
--
-- ingest_cursor: one row a source. It moves in the transaction that writes the rows, and never back.
-- late_partition: one row a batch × partition that late tickets were written to. It waits here until it was told.
CREATE TABLE ingest_cursor (
    source_id     TEXT        PRIMARY KEY,
    cursor_at     TIMESTAMPTZ NOT NULL,  -- the source was taken up to here
    watermark_at  TIMESTAMPTZ NOT NULL,  -- partitions that end by then were delivered whole, as the source says
    manifest_id   TEXT        NOT NULL,  -- of the delivery that moved it last
    batch_id      TEXT        NOT NULL,
    ingest_run_id TEXT,
    moved_at      TIMESTAMPTZ
);
CREATE TABLE late_partition (
    batch_id      TEXT        NOT NULL,
    partition_key TEXT        NOT NULL,  -- YYYY-MM-DD
    ticket_count  BIGINT      NOT NULL,
    ingest_run_id TEXT        NOT NULL,  -- the run that wrote them
    arrived_at    TIMESTAMPTZ NOT NULL,
    told_run_id   TEXT,                  -- the run that told of it; NULL until then
    PRIMARY KEY (batch_id, partition_key, ingest_run_id)
);
