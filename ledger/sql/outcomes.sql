-- What became of every item of a closed run, negative evidence included: what it planned, and what it produced or
-- checked unplanned. The latest derivation of a run counts: one that was reopened by late records and closed again
-- is derived anew.
-- Grain: one row for each closed run × item. Order: none.
-- run_id: the run
-- job_name: the run's job
-- asset_key: the asset
-- partition: the partition key
-- check_name: the check; NULL for an asset
-- kind: materialize, observe, check, or dependency (an optional one this run does not plan itself)
-- required: false for what the declared policy lets be missing
-- planned: false for what the run produced or checked without having planned it
-- outcome: materialized, materialized_with_warning, observed, check_passed, check_warned, check_skipped, check_failed, failed, skipped, not_available, upstream_skipped, upstream_failed, not_produced, canceled, not_started, not_evaluated, lost, pending, unknown
-- verdict: the outcome's place in the lattice: passed, warned, failed, skipped, not_available, not_evaluated, unknown
-- weight: what it counts against its run, a verdict: an optional item warns at most, and one left out is passed; a check of what was left out weighs what that does
-- reason_code: why it is not passed, as a code
-- reason: why, in words
-- attempts: how often its step was started
-- step_key: the step
-- position: its place among the items of its run, in the order in which they were derived
-- basis: ids of the events it was derived from
-- derived_in: event_id of the derivation
-- amended: whether an event it was derived from, or the derivation, was amended or voided since
WITH closings AS (
    SELECT run_id, max((data->>'$.revision')::BIGINT) AS revision
    FROM decisive_events
    WHERE event_type = 'run.closed.v1' AND coalesce(list_contains(getvariable('runs'), run_id), true)
    GROUP BY run_id
), lists AS (
    SELECT e.run_id, e.job_name, e.event_id AS derived_in, e.index, e.recorded_at, e.store_id,
        from_json(e.data->'$.outcomes', '[{"asset_key":"VARCHAR","partition":"VARCHAR","check_name":"VARCHAR","kind":"VARCHAR","required":"BOOLEAN","planned":"BOOLEAN","outcome":"VARCHAR","verdict":"VARCHAR","reason_code":"VARCHAR","reason":"VARCHAR","attempts":"BIGINT","step_key":"VARCHAR","basis":["VARCHAR"]}]') AS items
    FROM decisive_events AS e
    JOIN closings AS c ON c.run_id = e.run_id AND c.revision = (e.data->>'$.revision')::BIGINT
    WHERE e.event_type = 'outcomes.derived.v1' AND coalesce(list_contains(getvariable('runs'), e.run_id), true)
), derived AS (
    SELECT * EXCLUDE (items, place), row_number() OVER (
        PARTITION BY run_id ORDER BY store_id, index NULLS LAST, derived_in, place) AS place
    FROM (SELECT * EXCLUDE items, items, unnest(items) AS o, unnest(range(len(items))) AS place FROM lists)
), latest AS (
    -- Two captures that close a run at once may have read one record apart: one derivation of an item counts.
    SELECT * EXCLUDE (o, place), o.* EXCLUDE planned, coalesce(o.planned, true) AS planned,
        o.required AND coalesce(o.planned, true) AS wanted,
        min(place) OVER (PARTITION BY run_id, o.asset_key, o.partition, o.check_name) AS position
    FROM derived
    QUALIFY row_number() OVER (
        PARTITION BY run_id, o.asset_key, o.partition, o.check_name
        ORDER BY index DESC NULLS FIRST, recorded_at DESC, place DESC
    ) = 1
), unchecked AS (
    -- Checks that had nothing to evaluate, because what they are of was left out in every partition.
    SELECT c.run_id, c.position, max(a.verdict = 'not_available') AS not_available
    FROM latest AS c
    JOIN latest AS a ON a.run_id = c.run_id AND a.asset_key = c.asset_key AND a.kind <> 'check'
        AND (a.partition = c.partition OR a.partition IS NULL OR c.partition IS NULL)
    WHERE c.kind = 'check' AND c.outcome = 'not_evaluated' AND c.reason_code IN ('no_output', 'upstream_skipped')
    GROUP BY c.run_id, c.position
    HAVING bool_and(a.verdict IN ('skipped', 'not_available'))
), weighed AS (
    SELECT l.*, CASE WHEN u.run_id IS NULL THEN l.verdict WHEN u.not_available THEN 'not_available' ELSE 'skipped'
        END AS own
    FROM latest AS l
    LEFT JOIN unchecked AS u ON u.run_id = l.run_id AND u.position = l.position
)
SELECT run_id, job_name, asset_key, partition, check_name, kind, required, planned, outcome, verdict,
    CASE WHEN wanted OR own = 'passed' THEN own WHEN own IN ('skipped', 'not_available') THEN 'passed'
        WHEN required THEN own ELSE 'warned' END AS weight,
    reason_code, reason, attempts, step_key, position, basis, derived_in,
    coalesce(list_has_any(list_append(basis, derived_in), corrected.targets), false) AS amended
FROM weighed
CROSS JOIN (SELECT list(target_event_id) AS targets FROM amendments WHERE NOT withdrawn) AS corrected
