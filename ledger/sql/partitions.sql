-- Every partition that an asset has by its definition, also one that no run ever planned, and what became of it. What runs dealt with beside the definition is here too.
-- Grain: one row for each asset × partition of its definition, and one for each other that a closed run dealt with. Order: none.
-- asset_key: the asset
-- partition: the partition key; NULL of an asset without partitions
-- state: missing (no run ever dealt with it), pending (a run that is open planned it, and none before), materialized, stale (materialized, and an input has another version since), skipped (left out: skipped or not available), wiped, failed (the latest run that dealt with it did not make it), unknown (nobody knows its outcome)
-- defined: whether the definition has it: false for what it does not have, or not any more; NULL where that is not known: nobody declared which partitions the asset has, or they cannot be listed, or it is a dynamic one that came since
-- definition: windows (of time), static, dynamic (the keys when it was declared), multi, other, or none (it has no partitions); NULL where nobody declared it
-- outcome: that in the latest run (as in `assets`)
-- reason_code: why it is not passed
-- run_id: the latest closed run that dealt with it
-- state_since: since when it has this state, UTC
-- last_materialized_at: the newest materialization, UTC, also where a later run failed
-- materializations: how often it was materialized
-- stale_since: when the newest of its inputs changed, UTC; NULL where it is not stale
-- stale_by: the inputs that have another version since
WITH extents AS (
    SELECT unnest(asset_keys) AS asset_key, definition, keys FROM partition_extents
), defined AS (
    SELECT asset_key, unnest(keys) AS partition FROM extents WHERE keys IS NOT NULL
), dealt_with AS (
    -- What an asset with partitions has in a run without any is no partition of it.
    SELECT a.* FROM assets AS a LEFT JOIN extents AS e ON e.asset_key = a.asset_key
    WHERE a.partition IS NOT NULL OR e.keys IS NULL OR e.definition = 'none'
), going_on AS (
    SELECT DISTINCT item.asset_key, item.partition
    FROM (
        SELECT unnest(from_json(e.data->'$.items', '[{"asset_key":"VARCHAR","partition":"VARCHAR","kind":"VARCHAR"}]')) AS item
        FROM events AS e JOIN runs AS r ON r.run_id = e.run_id AND NOT r.closed
        WHERE e.event_type = 'plan.committed.v1'
    ) WHERE item.kind = 'materialize'
), made AS (
    SELECT asset_key, partition, arg_max(event_id, occurred_at) AS event_id,
        arg_max(data_version, occurred_at) AS data_version, max(occurred_at) AS occurred_at
    FROM materializations GROUP BY asset_key, partition
), changed AS (
    SELECT m.asset_key, m.partition, max(i.occurred_at) AS stale_since,
        list_sort(list(DISTINCT l.input_asset_key)) AS stale_by
    FROM made AS m
    JOIN lineage AS l ON l.event_id = m.event_id AND l.input_event_id IS NOT NULL
    JOIN made AS i ON i.asset_key = l.input_asset_key AND i.partition IS NOT DISTINCT FROM l.input_partition
    -- The version of a partitioned input is the hash of the versions of its partitions.
    WHERE i.occurred_at > l.input_occurred_at AND i.data_version IS NOT NULL
        AND l.input_data_version NOT IN (i.data_version, sha256(i.data_version))
    GROUP BY m.asset_key, m.partition
), every AS (
    SELECT coalesce(d.asset_key, a.asset_key) AS asset_key, coalesce(d.partition, a.partition) AS partition,
        d.asset_key IS NOT NULL AS listed, a.* EXCLUDE (asset_key, partition)
    FROM defined AS d
    FULL JOIN dealt_with AS a ON a.asset_key = d.asset_key AND a.partition IS NOT DISTINCT FROM d.partition
)
SELECT e.asset_key, e.partition,
    CASE WHEN e.outcome IS NULL THEN CASE WHEN g.asset_key IS NULL THEN 'missing' ELSE 'pending' END
        WHEN e.outcome = 'wiped' THEN 'wiped'
        WHEN e.verdict IN ('passed', 'warned') THEN CASE WHEN c.asset_key IS NULL THEN 'materialized' ELSE 'stale' END
        WHEN e.verdict IN ('skipped', 'not_available') THEN 'skipped'
        WHEN e.verdict = 'unknown' THEN 'unknown'
        ELSE 'failed' END AS state,
    CASE WHEN x.keys IS NOT NULL AND (e.listed OR x.definition <> 'dynamic') THEN e.listed END AS defined, x.definition,
    e.outcome, e.reason_code, e.run_id, e.state_since, e.last_materialized_at,
    coalesce(e.materializations, 0) AS materializations,
    CASE WHEN state = 'stale' THEN c.stale_since END AS stale_since,
    CASE WHEN state = 'stale' THEN c.stale_by END AS stale_by
FROM every AS e
LEFT JOIN extents AS x ON x.asset_key = e.asset_key
LEFT JOIN going_on AS g ON g.asset_key = e.asset_key AND g.partition IS NOT DISTINCT FROM e.partition
LEFT JOIN changed AS c ON c.asset_key = e.asset_key AND c.partition IS NOT DISTINCT FROM e.partition
