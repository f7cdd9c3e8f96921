-- Every run as its own records have it, or where the variable `runs` has some, these; `runs` adds what became of its items.
-- Grain: one row for each run. Order: none.
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
        any_value(from_json(data->'$.tags', '{"dagster/backfill":"VARCHAR","dagster/schedule_name":"VARCHAR","dagster/sensor_name":"VARCHAR","dagster/parent_run_id":"VARCHAR","dagster/from_automation_condition":"VARCHAR","dagster/auto_materialize":"VARCHAR"}'))
            FILTER (event_type = 'run.seen.v1') AS tags,
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
    WHERE run_id <> '' AND coalesce(list_contains(getvariable('runs'), run_id), true)
    GROUP BY run_id
)
SELECT
    run_id, job_name,
    coalesce(split_part(last_end, '.', 2), CASE WHEN started THEN 'running' ELSE 'queued' END) AS status,
    closed,
    CASE WHEN len(partitions) > 1 THEN format('{}..{} ({})', partitions[1], partitions[-1], len(partitions))
        ELSE coalesce(tagged, partitions[1]) END AS partition,
    started_at, ended_at,
    CASE WHEN tags."dagster/backfill" IS NOT NULL THEN 'backfill'
        WHEN tags."dagster/schedule_name" IS NOT NULL THEN 'schedule'
        WHEN coalesce(tags."dagster/from_automation_condition", tags."dagster/auto_materialize") IS NOT NULL
            THEN 'automation'
        WHEN tags."dagster/sensor_name" IS NOT NULL THEN 'sensor'
        WHEN tags."dagster/parent_run_id" IS NOT NULL THEN 're-execution' ELSE 'launched' END AS trigger,
    coalesce(tags."dagster/backfill", tags."dagster/schedule_name", tags."dagster/sensor_name") AS trigger_name,
    tags."dagster/parent_run_id" AS parent_run_id,
    events, late_events, first_index, last_index, trace_id, release_id, batch_id, store_id
FROM seen
