-- What contradicts itself: a green record that says of itself that it is none, and a plan that nobody ever fulfilled.
-- Checks that passed on nothing and row counts that do not close need to know which names are counts: `ledger gate
-- --json` and `ledger show` have them too, by a profile or a policy.
-- Grain: one row for each closed run × item × kind. Order: none.
-- kind: says_otherwise, when Dagster recorded a materialization or a passed check whose own metadata says failed, skipped or the like; never_made, when it was planned, and no run and nobody outside ever materialized it in its partition
-- run_id: the run
-- asset_key: the asset
-- partition: the partition key
-- check_name: the check; NULL for an asset
-- outcome: its outcome (as in `outcomes`)
-- reason: why it is not passed, in words
-- basis: ids of the events that say so
SELECT 'says_otherwise' AS kind, run_id, asset_key, partition, check_name, outcome, reason, basis
FROM outcomes
WHERE starts_with(reason, 'its own metadata says status ') AND verdict NOT IN ('passed', 'warned')
UNION ALL
SELECT 'never_made' AS kind, o.run_id, o.asset_key, o.partition, o.check_name, o.outcome, o.reason, o.basis
FROM outcomes AS o
WHERE o.kind = 'materialize' AND o.required AND o.planned AND NOT starts_with(o.outcome, 'materialized')
    AND NOT EXISTS (
        SELECT 1 FROM events AS e
        WHERE e.event_type = 'asset.materialized.v1' AND e.asset_key = o.asset_key
            AND e.partition IS NOT DISTINCT FROM o.partition)
