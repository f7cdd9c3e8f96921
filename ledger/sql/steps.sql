-- Steps: how often each was tried, how long it worked, and how it ended.
-- Grain: one row for each run × step that started or was skipped. Order: none (ORDER BY started_at).
-- run_id: the run
-- job_name: the run's job
-- step_key: the step
-- status: succeeded, failed or skipped; running while its last attempt has no end on record
-- attempts: how often it started
-- started_at: when its first attempt started, UTC
-- ended_at: when its last attempt ended, UTC
-- duration_s: seconds its attempts took, without what lies between them
-- error_class: the class of the error of its last attempt
-- message: that error's words
WITH marks AS (
    SELECT run_id, job_name, step_key, coalesce(attempt, 1) AS attempt, event_type, occurred_at, storage_id, data
    FROM effective_events
    WHERE step_key IS NOT NULL AND event_type IN ('step.started.v1', 'step.restarted.v1', 'step.succeeded.v1',
        'step.failed.v1', 'step.retry_scheduled.v1', 'step.skipped.v1')
), attempts AS (
    SELECT run_id, step_key, attempt, any_value(job_name) AS job_name,
        min(occurred_at) FILTER (event_type IN ('step.started.v1', 'step.restarted.v1')) AS started_at,
        max(occurred_at) FILTER (event_type NOT IN ('step.started.v1', 'step.restarted.v1')) AS ended_at,
        arg_max({'type': event_type, 'data': data}, storage_id)
            FILTER (event_type NOT IN ('step.started.v1', 'step.restarted.v1')) AS last_end
    FROM marks GROUP BY run_id, step_key, attempt
)
SELECT run_id, any_value(job_name) AS job_name, step_key,
    CASE arg_max(coalesce(last_end.type, ''), attempt) WHEN 'step.succeeded.v1' THEN 'succeeded'
        WHEN 'step.failed.v1' THEN 'failed' WHEN 'step.skipped.v1' THEN 'skipped' ELSE 'running' END AS status,
    count(started_at) AS attempts, min(started_at) AS started_at,
    CASE WHEN status <> 'running' THEN max(ended_at) END AS ended_at,
    sum(epoch_us(ended_at - started_at)) / 1000000 AS duration_s,
    -- In a struct, because arg_max passes over NULL.
    arg_max({'is': coalesce(last_end.data->>'$.error.cause.class', last_end.data->>'$.error.class')}, attempt).is
        AS error_class,
    arg_max({'is': coalesce(last_end.data->>'$.error.cause.message', last_end.data->>'$.error.message')}, attempt).is
        AS message
FROM attempts GROUP BY run_id, step_key
