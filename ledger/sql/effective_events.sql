-- What holds now: events as corrections leave them. Voided events are not here; `events` has what was recorded.
-- Grain: one row for each event that is not voided. Order: none (ORDER BY index, or occurred_at).
-- index: place in the log, from 0; NULL while the event waits in the inbox
-- event_id: the event's identity, a UUID that sorts by time
-- event_type: what happened, past tense and versioned
-- occurred_at: when it happened, UTC
-- recorded_at: when the ledger took it down, UTC
-- store_id: the Dagster store whose record it is
-- run_id: the run; empty for an event of no run
-- storage_id: the record's id in the run's log in Dagster; NULL for the ledger's own events
-- job_name: the run's job, as amended
-- step_key: the step, as amended
-- attempt: the step's attempt, from 1
-- asset_key: the asset, as amended
-- partition: the partition key, as amended
-- check_name: the asset check, as amended
-- trace_id: the trace, as amended
-- release_id: the release, as amended
-- batch_id: the batch, as amended
-- outcome: passed, warned, failed, skipped, not_available, not_evaluated, unknown, as amended
-- reason_code: why it is not passed, as amended
-- data: what else the event says, JSON, as recorded
-- source_digest: SHA-256 of the record as Dagster stores it; for own events of their content
-- payload: NULL where data is whole; erased, missing or altered where the payload is not in its entry and cannot be read
-- amended_by: event_id of the last amendment; NULL when there is none
WITH latest AS (
    SELECT target_event_id,
        bool_or(action = 'voided') AS voided,
        arg_max(event_id, recorded_at) AS amended_by,
        arg_max(changes->>'$.job_name', recorded_at) AS job_name,
        arg_max(changes->>'$.step_key', recorded_at) AS step_key,
        arg_max(changes->>'$.asset_key', recorded_at) AS asset_key,
        arg_max(changes->>'$.partition', recorded_at) AS partition,
        arg_max(changes->>'$.check_name', recorded_at) AS check_name,
        arg_max(changes->>'$.trace_id', recorded_at) AS trace_id,
        arg_max(changes->>'$.release_id', recorded_at) AS release_id,
        arg_max(changes->>'$.batch_id', recorded_at) AS batch_id,
        arg_max(changes->>'$.outcome', recorded_at) AS outcome,
        arg_max(changes->>'$.reason_code', recorded_at) AS reason_code
    FROM amendments WHERE NOT withdrawn
    GROUP BY target_event_id
)
SELECT e.index, e.event_id, e.event_type, e.occurred_at, e.recorded_at, e.store_id, e.run_id, e.storage_id,
    coalesce(l.job_name, e.job_name) AS job_name,
    coalesce(l.step_key, e.step_key) AS step_key,
    e.attempt,
    coalesce(l.asset_key, e.asset_key) AS asset_key,
    coalesce(l.partition, e.partition) AS partition,
    coalesce(l.check_name, e.check_name) AS check_name,
    coalesce(l.trace_id, e.trace_id) AS trace_id,
    coalesce(l.release_id, e.release_id) AS release_id,
    coalesce(l.batch_id, e.batch_id) AS batch_id,
    coalesce(l.outcome, e.outcome) AS outcome,
    coalesce(l.reason_code, e.reason_code) AS reason_code,
    e.data, e.source_digest, e.payload, l.amended_by
FROM events AS e
LEFT JOIN latest AS l ON l.target_event_id = e.event_id
WHERE l.voided IS NOT TRUE
