-- The outcomes of given runs' items, each as the last of the runs has it, what was measured, how long it took.
-- Grain: one row for each asset × partition × check. Order: asset_key, partition, check_name.
-- Columns: asset_key, partition (NULL where it is the run's own), check_name, verdict, outcome, reason_code, reason,
--   attempts, data_version, code_version, metadata (map of label to text), duration_s (of its step), run_id.
-- Parameters: run_ids, own (whether the runs' own partition is left out of the key).
WITH chosen AS (
    SELECT run_id, partition, started_at FROM runs WHERE list_contains($run_ids::VARCHAR[], run_id)
), made AS (
    SELECT run_id, asset_key, partition, arg_max(data_version, occurred_at) AS data_version,
        arg_max(code_version, occurred_at) AS code_version, arg_max(metadata, occurred_at) AS metadata
    FROM materializations GROUP BY run_id, asset_key, partition
), measured AS (
    SELECT run_id, asset_key, partition, check_name, arg_max(metadata, occurred_at) AS metadata
    FROM checks GROUP BY run_id, asset_key, partition, check_name
)
SELECT o.asset_key, o.key AS partition, o.check_name, o.verdict, o.outcome, o.reason_code, o.reason, o.attempts,
    m.data_version, m.code_version, coalesce(m.metadata, k.metadata) AS metadata, s.duration_s, o.run_id
FROM (
    SELECT o.*, c.started_at, CASE WHEN $own AND o.partition = c.partition THEN NULL ELSE o.partition END AS key
    FROM outcomes AS o JOIN chosen AS c ON c.run_id = o.run_id
) AS o
LEFT JOIN made AS m ON m.run_id = o.run_id AND m.asset_key = o.asset_key AND o.check_name IS NULL
    AND m.partition IS NOT DISTINCT FROM o.partition
LEFT JOIN measured AS k ON k.run_id = o.run_id AND k.asset_key = o.asset_key AND k.check_name = o.check_name
    AND (k.partition IS NOT DISTINCT FROM o.partition OR k.partition IS NULL)
LEFT JOIN steps AS s ON s.run_id = o.run_id AND s.step_key = o.step_key
QUALIFY row_number() OVER (
    PARTITION BY o.asset_key, o.key, o.check_name ORDER BY o.started_at DESC, o.run_id DESC) = 1
ORDER BY o.asset_key, o.key, o.check_name
