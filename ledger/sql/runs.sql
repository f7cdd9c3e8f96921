-- Every run the ledger knows.
-- Grain: one row for each run. Order: none (ORDER BY started_at).
-- run_id: the run
-- job_name: its job
-- status: what Dagster's log says of it: queued, running, succeeded, failed or canceled; it is not a verdict
-- closed: whether it was read whole after its end and its outcomes derived; not while late records reopen it
-- partition: its partition, from its tags
-- started_at: when it was launched, UTC
-- ended_at: when it ended, UTC
-- planned: items planned (closed runs)
-- passed: items of these whose verdict is passed
-- not_passed: items of these with any other verdict
-- events: events recorded
-- late_events: times it was reopened by records that came after closing
-- first_index: the smallest index of its events
-- last_index: the largest
-- trace_id: the trace
-- release_id: the release
-- batch_id: the batch
-- store_id: the Dagster store it ran in
WITH seen AS (
    SELECT
        run_id,
        any_value(job_name) AS job_name,
        max(CASE event_type
            WHEN 'run.canceled.v1' THEN 5 WHEN 'run.failed.v1' THEN 4 WHEN 'run.succeeded.v1' THEN 3
            WHEN 'run.started.v1' THEN 2 ELSE 1 END) AS progress,
        coalesce(max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.closed.v1'), 0)
            > coalesce(max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.reopened.v1'), 0) AS closed,
        coalesce(
            max(data->>'$.tags."dagster/partition"') FILTER (event_type = 'run.seen.v1'),
            max(partition) FILTER (event_type = 'asset.materialization_planned.v1')
        ) AS partition,
        coalesce(min(occurred_at) FILTER (event_type = 'run.started.v1'), min(occurred_at)) AS started_at,
        max(occurred_at) FILTER (event_type IN ('run.succeeded.v1', 'run.failed.v1', 'run.canceled.v1')) AS ended_at,
        count(*) AS events,
        count(*) FILTER (event_type = 'run.reopened.v1') AS late_events,
        min(index) AS first_index,
        max(index) AS last_index,
        max(trace_id) AS trace_id,
        max(release_id) AS release_id,
        max(batch_id) AS batch_id,
        max(store_id) AS store_id
    FROM events
    WHERE run_id <> ''
    GROUP BY run_id
), items AS (
    SELECT run_id, count(*) AS planned, count(*) FILTER (verdict = 'passed') AS passed
    FROM outcomes GROUP BY run_id
)
SELECT
    s.run_id, s.job_name, ['queued', 'running', 'succeeded', 'failed', 'canceled'][s.progress] AS status,
    s.closed, s.partition, s.started_at, s.ended_at,
    i.planned, i.passed, i.planned - i.passed AS not_passed,
    s.events, s.late_events, s.first_index, s.last_index, s.trace_id, s.release_id, s.batch_id, s.store_id
FROM seen AS s
LEFT JOIN items AS i ON i.run_id = s.run_id
