-- Every run the ledger knows.
-- Grain: one row for each run. Order: none (ORDER BY started_at).
-- run_id: the run
-- job_name: its job
-- status: what Dagster's log says of it last: queued, running, succeeded, failed or canceled; it is not a verdict
-- verdict: passed, warned, skipped, not_available, not_evaluated, unknown or failed; unknown while it is open
-- reason_code: why it is not passed, as a code
-- reason: why, in words: the item that weighs most
-- closed: whether it was read whole after its end and its outcomes derived; not while late records reopen it
-- partition: its partition, from its tags; of several in its plan the first, the last and how many: 2026-03-04..2026-03-13 (10)
-- started_at: when it was launched, UTC
-- ended_at: when it ended, UTC
-- duration_s: seconds from its start to its end
-- trigger: what launched it: schedule, sensor, automation, backfill, re-execution, or launched (by a person or a program)
-- trigger_name: the schedule or sensor, or the id of the backfill
-- parent_run_id: the run it re-executes
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
WITH gravity AS (
    SELECT *, list_position(['passed', 'warned', 'skipped', 'not_available', 'not_evaluated', 'unknown', 'failed'],
        weight) AS heavy, max(heavy) OVER (PARTITION BY run_id) AS heaviest
    FROM outcomes
), items AS (
    SELECT run_id, count(*) FILTER (planned) AS planned, count(*) FILTER (NOT planned) AS unplanned,
        -- A dependency is declared by the policy: it is no work that the run itself set out to do.
        count(*) FILTER (planned AND kind <> 'dependency') AS set_out,
        count(*) FILTER (verdict = 'passed') AS passed, count(*) FILTER (verdict <> 'passed') AS not_passed,
        any_value(weight) FILTER (heavy = heaviest) AS worst,
        count(*) FILTER (heavy = heaviest) - 1 AS others,
        -- What follows from another item explains less, and is named only where there is nothing else.
        arg_min({'asset_key': asset_key, 'partition': partition, 'check_name': check_name, 'outcome': outcome,
            'reason_code': reason_code, 'reason': reason},
            (outcome IN ('upstream_failed', 'upstream_skipped', 'not_evaluated', 'not_produced', 'not_started',
                'canceled'), position)) FILTER (heavy = heaviest) AS first,
        bool_or(planned AND outcome = 'failed' AND reason_code IS NOT DISTINCT FROM 'step_failed') AS step_failed
    FROM gravity GROUP BY run_id
), stated AS (
    SELECT s.*, i.* EXCLUDE (run_id, worst), coalesce(i.worst, 'passed') AS worst,
        -- A run that failed over an optional step alone warns, and does not fail.
        status <> 'succeeded'
            AND NOT (status = 'failed' AND coalesce(i.worst = 'warned' AND i.step_failed, false)) AS broken
    FROM run_rows AS s
    LEFT JOIN items AS i ON i.run_id = s.run_id
), judged AS (
    SELECT *,
        CASE WHEN NOT closed THEN 'open'
            WHEN worst <> 'failed' AND NOT broken AND coalesce(set_out, 0) = 0 THEN 'nothing'
            -- A warning is no reason for a run to fail.
            WHEN broken AND worst IN ('passed', 'warned') THEN 'broken'
            WHEN worst = 'passed' THEN 'passed'
            ELSE 'item' END AS why,
        CASE status WHEN 'failed' THEN 'failed' WHEN 'canceled' THEN 'was canceled'
            WHEN 'queued' THEN 'is waiting to start' ELSE 'is still running' END AS said,
        CASE first.outcome WHEN 'check_warned' THEN 'did not pass, a warning' WHEN 'check_failed' THEN 'did not pass'
            ELSE coalesce(
                nullif(trim(regexp_replace(first.reason, '[\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+', ' ', 'g')), ''),
                replace(first.outcome, '_', ' ')) END AS words
    FROM stated
)
SELECT
    run_id, job_name, status,
    CASE why WHEN 'open' THEN 'unknown' WHEN 'nothing' THEN 'unknown' WHEN 'broken' THEN 'failed'
        WHEN 'passed' THEN 'passed' ELSE CASE WHEN broken THEN 'failed' ELSE worst END END AS verdict,
    CASE why WHEN 'open' THEN 'run_not_closed' WHEN 'nothing' THEN 'nothing_planned' WHEN 'broken' THEN 'run_' || status
        WHEN 'item' THEN coalesce(nullif(first.reason_code, ''), first.outcome) END AS reason_code,
    CASE why
        WHEN 'open' THEN CASE WHEN status IN ('queued', 'running')
            THEN format('the run {}; its verdict is given when it has ended and was read whole', said)
            ELSE format('the run has ended ({}) and is not closed: its log is read once more after a grace period', status)
            END
        WHEN 'nothing' THEN 'the run planned no asset and no check, so nothing can be judged'
        WHEN 'broken' THEN 'Dagster says the run ' || said
        WHEN 'item' THEN concat(
            CASE WHEN first.check_name IS NULL THEN first.asset_key
                ELSE concat('check ', first.check_name, CASE WHEN first.asset_key <> '' THEN ' of ' END, first.asset_key) END,
            CASE WHEN first.partition IS NOT NULL THEN concat(' [', first.partition, ']') END, ': ',
            CASE WHEN length(words) <= 200 THEN words ELSE concat(words[:98], ' … ', words[-98:]) END,
            CASE WHEN others > 0 THEN concat(' (and ', others, ' more)') END)
        END AS reason,
    closed, partition, started_at, ended_at, epoch_us(ended_at - started_at) / 1000000 AS duration_s,
    trigger, trigger_name, parent_run_id,
    planned, unplanned, passed, not_passed,
    events, late_events, first_index, last_index, trace_id, release_id, batch_id, store_id
FROM judged
