-- Every run the ledger knows.
-- Grain: one row for each run. Order: none (ORDER BY started_at).
-- run_id: the run
-- job_name: its job
-- status: what Dagster's log says of it last: queued, running, succeeded, failed or canceled; it is not a verdict
-- closed: whether it was read whole after its end and its outcomes derived; not while late records reopen it
-- partition: its partition, from its tags; of several in its plan the first, the last and how many: 2026-03-04..2026-03-13 (10)
-- started_at: when it was launched, UTC
-- ended_at: when it ended, UTC
-- planned: items planned (closed runs)
-- unplanned: items that it produced or checked without having planned them
-- passed: items of both kinds whose verdict is passed
-- not_passed: items of both kinds with any other verdict
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
        arg_max(event_type, storage_id)
            FILTER (event_type IN ('run.succeeded.v1', 'run.failed.v1', 'run.canceled.v1')) AS last_end,
        bool_or(event_type = 'run.started.v1') AS started,
        coalesce(max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.closed.v1'), 0)
            > coalesce(max((data->>'$.revision')::BIGINT) FILTER (event_type = 'run.reopened.v1'), 0) AS closed,
        max(data->>'$.tags."dagster/partition"') FILTER (event_type = 'run.seen.v1') AS tagged,
        list_sort(list_distinct(list_concat(
            flatten(list(data->>'$.items[*].partition') FILTER (event_type = 'plan.committed.v1')),
            list(partition) FILTER (event_type = 'asset.materialization_planned.v1' AND partition IS NOT NULL)
        ))) AS partitions,
        coalesce(min(occurred_at) FILTER (event_type = 'run.started.v1'), min(occurred_at)) AS started_at,
        arg_max(occurred_at, storage_id)
            FILTER (event_type IN ('run.succeeded.v1', 'run.failed.v1', 'run.canceled.v1')) AS ended_at,
        count(*) AS events,
        count(*) FILTER (event_type = 'run.reopened.v1') AS late_events,
        min(index) AS first_index,
        max(index) AS last_index,
        max(trace_id) AS trace_id,
        max(release_id) AS release_id,
        max(batch_id) AS batch_id,
        max(store_id) AS store_id
    FROM decisive_events
    WHERE run_id <> ''
    GROUP BY run_id
), items AS (
    SELECT run_id, count(*) FILTER (planned) AS planned, count(*) FILTER (NOT planned) AS unplanned,
        count(*) FILTER (verdict = 'passed') AS passed, count(*) FILTER (verdict <> 'passed') AS not_passed
    FROM outcomes GROUP BY run_id
)
SELECT
    s.run_id, s.job_name,
    coalesce(split_part(s.last_end, '.', 2), CASE WHEN s.started THEN 'running' ELSE 'queued' END) AS status,
    s.closed,
    CASE WHEN len(s.partitions) > 1 THEN format('{}..{} ({})', s.partitions[1], s.partitions[-1], len(s.partitions))
        ELSE coalesce(s.tagged, s.partitions[1]) END AS partition,
    s.started_at, s.ended_at, i.planned, i.unplanned, i.passed, i.not_passed,
    s.events, s.late_events, s.first_index, s.last_index, s.trace_id, s.release_id, s.batch_id, s.store_id
FROM seen AS s
LEFT JOIN items AS i ON i.run_id = s.run_id
