-- Events of given runs, each run's in the order of its log; the ledger's own events come first.
-- Grain: one row for each event. Order: run_id, store_id, storage_id (own events first, by index), event_id.
-- Columns: run_id, index (NULL while unsealed), event_id, event_type, occurred_at (microseconds since 1970),
--   step_key, attempt, asset_key, partition, check_name, outcome, reason_code, data (JSON text).
-- Parameters: run_ids, event_types (NULL for all).
SELECT run_id, index, event_id, event_type, epoch_us(occurred_at), step_key, attempt, asset_key, partition,
    check_name, outcome, reason_code, data::VARCHAR
FROM events
WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
    AND ($event_types::VARCHAR[] IS NULL OR event_type IN (SELECT unnest($event_types::VARCHAR[])))
ORDER BY run_id, store_id, storage_id NULLS FIRST, index NULLS LAST, event_id
