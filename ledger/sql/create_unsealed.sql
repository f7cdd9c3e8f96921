-- What waits in the inbox, as it would stand in a segment; `index` is NULL.
-- Grain: one row for each unsealed entry. Columns: those of a segment, in its order.
CREATE TABLE unsealed_entries (
    index BIGINT,
    event_id VARCHAR,
    event_type VARCHAR,
    occurred_at TIMESTAMPTZ,
    recorded_at TIMESTAMPTZ,
    store_id VARCHAR,
    run_id VARCHAR,
    storage_id BIGINT,
    job_name VARCHAR,
    step_key VARCHAR,
    attempt INTEGER,
    asset_key VARCHAR,
    partition VARCHAR,
    check_name VARCHAR,
    trace_id VARCHAR,
    release_id VARCHAR,
    batch_id VARCHAR,
    outcome VARCHAR,
    reason_code VARCHAR,
    data VARCHAR,
    source_digest VARCHAR,
    entry BLOB
)
