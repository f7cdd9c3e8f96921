-- What failed: runs, steps, checks, resources and hooks.
-- Grain: one row for each event whose outcome is failed. Order: none (ORDER BY index).
-- index: place in the log
-- occurred_at: when it happened, UTC
-- run_id: the run
-- job_name: the run's job
-- event_type: what failed
-- step_key: the step
-- attempt: the step's attempt, from 1
-- asset_key: the asset, where a check failed
-- partition: the partition key
-- check_name: the check
-- reason_code: how it failed, as a code
-- error_class: the class of the error
-- message: the error's words, else the event's
-- payload: NULL where all of it is whole; erased, missing or altered where the payload is not in its entry and cannot be read
-- trace_id: the trace
-- release_id: the release
-- batch_id: the batch
-- event_id: the event
-- amended_by: event_id of the last amendment; NULL when it stands as it was recorded
SELECT
    index, occurred_at, run_id, job_name, event_type, step_key, attempt, asset_key, partition, check_name,
    reason_code,
    coalesce(data->>'$.error.cause.class', data->>'$.error.class') AS error_class,
    coalesce(data->>'$.error.cause.message', data->>'$.error.message', data->>'$.message') AS message,
    payload, trace_id, release_id, batch_id, event_id, amended_by
FROM effective_events
WHERE outcome = 'failed'
