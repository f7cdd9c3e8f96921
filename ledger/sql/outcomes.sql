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
-- reason_code: why it is not passed, as a code
-- reason: why, in words
-- attempts: how often its step was started
-- step_key: the step
-- basis: ids of the events it was derived from
-- derived_in: event_id of the derivation
-- amended: whether an event it was derived from, or the derivation, was amended or voided since
WITH closings AS (
    SELECT run_id, max((data->>'$.revision')::BIGINT) AS revision
    FROM decisive_events WHERE event_type = 'run.closed.v1' GROUP BY run_id
), derived AS (
    SELECT e.run_id, e.job_name, e.event_id AS derived_in, e.index, e.recorded_at,
        unnest(from_json(e.data->'$.outcomes', '[{"asset_key":"VARCHAR","partition":"VARCHAR","check_name":"VARCHAR","kind":"VARCHAR","required":"BOOLEAN","planned":"BOOLEAN","outcome":"VARCHAR","verdict":"VARCHAR","reason_code":"VARCHAR","reason":"VARCHAR","attempts":"BIGINT","step_key":"VARCHAR","basis":["VARCHAR"]}]')) AS o
    FROM decisive_events AS e
    JOIN closings AS c ON c.run_id = e.run_id AND c.revision = (e.data->>'$.revision')::BIGINT
    WHERE e.event_type = 'outcomes.derived.v1'
), latest AS (
    -- Two captures that close a run at once may have read one record apart: one derivation of an item counts.
    SELECT * FROM derived
    QUALIFY row_number() OVER (
        PARTITION BY run_id, o.asset_key, o.partition, o.check_name ORDER BY index DESC NULLS FIRST, recorded_at DESC
    ) = 1
)
SELECT run_id, job_name, o.asset_key, o.partition, o.check_name, o.kind, o.required,
    coalesce(o.planned, true) AS planned, o.outcome, o.verdict, o.reason_code, o.reason, o.attempts, o.step_key, o.basis, derived_in,
    coalesce(list_has_any(list_append(o.basis, derived_in), corrected.targets), false) AS amended
FROM latest
CROSS JOIN (SELECT list(target_event_id) AS targets FROM amendments WHERE NOT withdrawn) AS corrected
