-- The latest state of every asset and partition: its outcome in the last closed run that dealt with it, unless it was
-- reported from outside a run or wiped since. Absent is a state too.
-- Grain: one row for each asset × partition that was ever planned, produced or reported. Order: none.
-- asset_key: the asset
-- partition: the partition key
-- outcome: that in the latest run (as in `outcomes`); reported, when somebody reported a materialization outside any run since; wiped, when its materializations were deleted in Dagster since
-- verdict: its place in the lattice; not_available when it was wiped, unknown when what was reported cannot be read
-- reason_code: why it is not passed
-- run_id: the latest run that dealt with it; NULL when it was reported from outside
-- run_ended_at: when that run ended, UTC
-- state_since: since when it has this state, UTC
-- wiped_at: when it was wiped last, UTC, whether or not it was produced again; NULL when it never was
-- last_materialized_at: the newest materialization in any run or from outside, UTC; NULL when it never was
-- last_materialized_run_id: the run of that materialization; empty when it was reported from outside
-- materializations: how often it was materialized; a wipe takes none of them away
WITH made AS (
    SELECT asset_key, partition, run_id, max(occurred_at) AS occurred_at, count(*) AS materializations,
        -- arg_max leaves NULL out, and the last report counts whether or not it states a status.
        arg_max(CASE WHEN run_id <> '' THEN NULL WHEN map_contains(metadata, 'status')
            THEN coalesce(metadata['status'], '') ELSE 'success' END, occurred_at) AS said,
        arg_max(coalesce(payload, ''), occurred_at) AS payload
    FROM materializations GROUP BY asset_key, partition, run_id
), texts AS (
    -- Of a structure its texts, at any depth, that are no keys.
    SELECT asset_key, partition, occurred_at, payload, regexp_matches(said, '^\s*[\[{]') AND json_valid(said) AS structured,
        unnest(CASE WHEN structured THEN list_concat(
            regexp_extract_all(said, '"([^"\\]*)"\s*[,\]}]', 1), ['success']) ELSE [said] END) AS text
    FROM made WHERE run_id = ''
), words AS (
    -- The word without what surrounds it: **failed**.
    SELECT asset_key, partition, occurred_at, payload,
        CASE WHEN lower(trim(text)) IN ('', 'none', 'null', 'nan', 'nat', '<na>')
            THEN CASE WHEN structured THEN 'success' ELSE 'empty' END
            ELSE regexp_replace(regexp_replace(lower(trim(text)), '^[\W_]+|[\W_]+$', '', 'g'), '[\s-]+', '_', 'g')
        END AS status
    FROM texts
), worded AS (
    SELECT *,
        CASE WHEN status IN ('warning', 'warned', 'warn', 'partial') THEN 'warned'
            WHEN status IN ('skipped', 'skip', 'upstream_skipped') THEN 'skipped'
            WHEN status = 'not_available' THEN status
            WHEN status IN ('not_evaluated', 'not_produced', 'not_started', 'upstream_failed', 'canceled', 'cancelled')
            THEN 'not_evaluated'
            WHEN status IN ('unknown', 'pending', 'lost', 'empty') THEN 'unknown'
            WHEN status IN ('failed', 'fail', 'failure', 'error', 'errored', 'false') THEN 'failed' ELSE 'passed' END AS verdict
    FROM words
    QUALIFY row_number() OVER (PARTITION BY asset_key, partition ORDER BY list_position(
        ['passed', 'warned', 'skipped', 'not_available', 'not_evaluated', 'unknown', 'failed'], verdict) DESC, status DESC) = 1
), stated AS (
    -- A wipe while the run went on came after what it had produced by then, and before what it produced later.
    SELECT o.asset_key, o.partition, o.outcome, o.verdict, o.reason_code, o.run_id, r.ended_at AS run_ended_at,
        coalesce(m.occurred_at, r.ended_at) AS since
    FROM outcomes AS o
    JOIN runs AS r ON r.run_id = o.run_id
    LEFT JOIN made AS m ON o.outcome LIKE 'materialized%' AND m.run_id = o.run_id
        AND m.asset_key = o.asset_key AND m.partition IS NOT DISTINCT FROM o.partition
    WHERE o.check_name IS NULL
    UNION ALL
    -- What is reported may say of itself that it was not produced, as a run's materialization may; where that cannot
    -- be read, it is unknown.
    SELECT asset_key, partition, 'reported', CASE WHEN payload <> '' THEN 'unknown' ELSE verdict END,
        CASE WHEN payload <> '' THEN 'payload_' || payload WHEN verdict <> 'passed' THEN 'status_' || status END,
        NULL, NULL, occurred_at
    FROM worded
), latest AS (
    SELECT * FROM stated
    QUALIFY row_number() OVER (
        PARTITION BY asset_key, partition ORDER BY coalesce(run_ended_at, since) DESC, run_id DESC NULLS LAST) = 1
), wipes AS (
    -- A wipe whose partitions cannot be read wipes all of them.
    SELECT asset_key, occurred_at, unnest(coalesce(
        nullif(from_json(data->'$.partition_keys', '["VARCHAR"]'), []), [NULL::VARCHAR])) AS partition
    FROM effective_events WHERE event_type = 'asset.wiped.v1'
), wiped AS (
    SELECT l.asset_key, l.partition, max(w.occurred_at) AS wiped_at
    FROM latest AS l
    JOIN wipes AS w ON w.asset_key = l.asset_key AND (w.partition IS NULL OR w.partition = l.partition)
    GROUP BY l.asset_key, l.partition
), totals AS (
    SELECT asset_key, partition, max(occurred_at) AS last_materialized_at,
        arg_max(run_id, occurred_at) AS last_materialized_run_id, sum(materializations)::BIGINT AS materializations
    FROM made GROUP BY asset_key, partition
)
SELECT l.asset_key, l.partition,
    CASE WHEN w.wiped_at >= l.since THEN 'wiped' ELSE l.outcome END AS outcome,
    CASE WHEN w.wiped_at >= l.since THEN 'not_available' ELSE l.verdict END AS verdict,
    CASE WHEN w.wiped_at >= l.since THEN 'asset_wiped' ELSE l.reason_code END AS reason_code,
    l.run_id, l.run_ended_at, greatest(l.since, w.wiped_at) AS state_since, w.wiped_at,
    t.last_materialized_at, t.last_materialized_run_id, coalesce(t.materializations, 0) AS materializations
FROM latest AS l
LEFT JOIN wiped AS w ON w.asset_key = l.asset_key AND w.partition IS NOT DISTINCT FROM l.partition
LEFT JOIN totals AS t ON t.asset_key = l.asset_key AND t.partition IS NOT DISTINCT FROM l.partition
