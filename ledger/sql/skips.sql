-- What was left out by declaration, and what Dagster skipped because an input was left out.
-- Grain: one row for each skip event. Order: none (ORDER BY index).
-- index: place in the log
-- occurred_at: when it happened, UTC
-- run_id: the run
-- job_name: the run's job
-- step_key: the step
-- asset_key: the asset; NULL for a step that Dagster skipped
-- partition: the partition key
-- outcome: skipped (a choice) or not_available (wanted, and not there)
-- reason_code: why, as a code
-- reason: why, in words
-- declared: true when the asset said so itself, false when Dagster skipped the step
-- payload: NULL where all of it is whole; erased, missing or altered where the payload is not in its entry and cannot be read
-- trace_id: the trace
-- release_id: the release
-- batch_id: the batch
-- event_id: the event
-- amended_by: event_id of the last amendment; NULL when it stands as it was recorded
SELECT
    index, occurred_at, run_id, job_name, step_key, asset_key, partition, outcome, reason_code,
    coalesce(data->>'$.text', data->>'$.message') AS reason,
    event_type = 'asset.skipped.v1' AS declared,
    payload, trace_id, release_id, batch_id, event_id, amended_by
FROM effective_events
WHERE event_type IN ('asset.skipped.v1', 'step.skipped.v1')
