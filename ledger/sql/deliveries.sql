-- What is handed over: the latest run of every partition of every delivery that the ledger has a profile of, what may be done with it, and why. The decision is that of the hand-over document. Empty where no profile was declared.
-- Grain: one row for each delivery × partition that a run planned. Order: none.
-- product: the asset that is handed over
-- partition: the partition key
-- profile: the name of the delivery profile
-- profile_sha256: its digest: that of the one that held when the run began
-- run_id: the latest run that planned the partition, of those that planned the product
-- ended_at: when it ended, UTC; NULL while it runs
-- closed: whether it was read whole after its end; the verdict of an open one may change
-- asset_key: the asset that the run made of the delivery: the product, or where it did not plan that the one furthest downstream
-- verdict: the verdict on the run's part in the partition; what the profile says may be missing is optional. unknown where the run cannot be read
-- decision: what may be done with it: the profile's own word for proceed, manual_review_required, dry_run_only or hold_downstream
-- in_force: the decision that counts: hold where a person holds the partition (sign_off), else decision
-- reason_code: why the verdict is not passed, as a code
-- reason: why, in words: the item that weighs most
-- reason_codes: every reason there is, the gravest first, as in the hand-over document
-- superseded: the runs that planned it before, the oldest first; they count no more
-- evidence: the hand-over documents of the run for the partition that the log records, each with name, sha256 and the index of the record; the last is the newest
-- sign_off: proceed or hold, where a person signed it off and that still holds
-- signed_off_by: who signed it off last, as they said
-- signed_off_at: when, UTC
-- sign_off_lapsed: why that does not hold any more
SELECT product, partition, profile, profile_sha256, run_id, make_timestamptz(ended_at) AS ended_at, closed, asset_key,
    verdict, decision, in_force, reason_code, reason, coalesce(reason_codes, []) AS reason_codes,
    coalesce(superseded, []) AS superseded, coalesce(evidence, []) AS evidence,
    sign_off, signed_off_by, make_timestamptz(signed_off_at) AS signed_off_at, sign_off_lapsed
FROM delivery_rows
