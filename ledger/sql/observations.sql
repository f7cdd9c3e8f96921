-- What runs reported about assets without producing them: observations.
-- Grain: one row for each observation event. Order: none (ORDER BY index).
-- index: place in the log
-- occurred_at: when it happened, UTC
-- run_id: the run
-- job_name: the run's job
-- step_key: the step
-- asset_key: the asset
-- partition: the partition key
-- data_version: Dagster's data version
-- metadata: what was observed, MAP of label to text
-- payload: NULL where all of it is whole; erased, missing or altered where the payload is not in its entry and cannot be read
-- trace_id: the trace
-- release_id: the release
-- batch_id: the batch
-- event_id: the event
-- amended_by: event_id of the last amendment; NULL when it stands as it was recorded
SELECT
    index, occurred_at, run_id, job_name, step_key, asset_key, partition,
    data->>'$.data_version' AS data_version,
    -- A ledger may hold a label twice that was two before it was written: a map has room for the last.
    map_from_entries([m FOR m, i IN measured
        IF m.label IS NOT NULL AND NOT list_contains([n.label FOR n IN measured[i + 1:]], m.label)]) AS metadata,
    payload, trace_id, release_id, batch_id, event_id, amended_by
FROM (
    SELECT *, from_json(data->'$.metadata', '[{"label":"VARCHAR","value":"VARCHAR"}]') AS measured
    FROM effective_events
)
WHERE event_type = 'asset.observed.v1'
