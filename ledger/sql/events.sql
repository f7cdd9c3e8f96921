-- Everything recorded.
-- Grain: one row for each event. Order: none (ORDER BY index, or occurred_at).
-- index: place in the log, from 0; NULL while the event waits in the inbox
-- event_id: the event's identity, a UUID that sorts by time
-- event_type: what happened, past tense and versioned
-- occurred_at: when it happened, UTC
-- recorded_at: when the ledger took it down, UTC
-- store_id: the Dagster store whose record it is
-- run_id: the run; empty for an event of no run
-- storage_id: the record's id in the run's log in Dagster; NULL for the ledger's own events
-- job_name: the run's job
-- step_key: the step
-- attempt: the step's attempt, from 1
-- asset_key: the asset, parts joined by slashes
-- partition: the partition key
-- check_name: the asset check
-- trace_id: run tag trace_id, else the run id's 32 hex digits
-- release_id: run tag release_id, else the release of the capturing process
-- batch_id: run tag batch_id
-- outcome: passed, warned, failed, skipped, not_available, not_evaluated, unknown; NULL where none is stated
-- reason_code: why it is not passed
-- data: what else the event says, JSON; where `payload` says that it cannot be read, the reference to it
-- source_digest: SHA-256 of the record as Dagster stores it; for own events of their content
-- payload: NULL where data is whole; erased, missing or altered where the payload is not in its entry and cannot be read
SELECT e.* EXCLUDE (entry, place, data, source_digest), coalesce(b.text, e.data::JSON) AS data, e.source_digest,
    b.problem AS payload
FROM all_entries AS e
-- By type as well as by place, so that a query of one type opens no payload of another.
LEFT JOIN payloads_beside AS b ON b.place = e.place AND b.event_type = e.event_type
