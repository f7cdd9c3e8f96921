-- What was made from what: the versions of its inputs that a materialization says it used.
-- Grain: one row for each materialization × input. Order: none (ORDER BY index).
-- index: place of the materialization in the log
-- occurred_at: when it happened, UTC
-- run_id: its run
-- asset_key: what was made
-- partition: the partition key
-- data_version: Dagster's data version of what was made
-- input_asset_key: an input
-- input_partition: the partition key of the input's event, which is the one Dagster points at, else the newest before it that has this version; NULL where the ledger has none
-- input_data_version: the version of the input that was used; of several partitions of it a hash, for which there is no one event
-- input_run_id: the run that made it; empty when it was reported from outside
-- input_occurred_at: when that happened, UTC
-- input_event_id: the input's event; NULL where it is not in the ledger
-- event_id: the materialization
WITH used AS (
    SELECT index, occurred_at, run_id, store_id, asset_key, partition, event_id,
        data->>'$.data_version' AS data_version,
        unnest(map_entries(CAST(data->'$.tags' AS MAP(VARCHAR, VARCHAR)))) AS tag
    FROM effective_events
    WHERE event_type = 'asset.materialized.v1'
), inputs AS (
    SELECT * EXCLUDE tag, tag.key[28:] AS input_asset_key, tag.value AS input_data_version
    FROM used WHERE starts_with(tag.key, 'dagster/input_data_version/')
), pointers AS (
    SELECT event_id, tag.key[29:] AS input_asset_key, try_cast(tag.value AS BIGINT) AS storage_id
    FROM used WHERE starts_with(tag.key, 'dagster/input_event_pointer/')
), sources AS (
    SELECT store_id, storage_id, event_id, run_id, asset_key, partition, occurred_at,
        -- The version of a partitioned input is the hash of the versions of its partitions, of one too.
        unnest([data->>'$.data_version', sha256(data->>'$.data_version')]) AS version
    FROM effective_events
    WHERE event_type IN ('asset.materialized.v1', 'asset.observed.v1')
)
SELECT i.index, i.occurred_at, i.run_id, i.asset_key, i.partition, i.data_version,
    i.input_asset_key, s.partition AS input_partition, i.input_data_version,
    s.run_id AS input_run_id, s.occurred_at AS input_occurred_at, s.event_id AS input_event_id, i.event_id
FROM inputs AS i
LEFT JOIN pointers AS p ON p.event_id = i.event_id AND p.input_asset_key = i.input_asset_key
LEFT JOIN sources AS s ON s.asset_key = i.input_asset_key AND s.version = i.input_data_version
    AND s.occurred_at <= i.occurred_at
-- Dagster's pointer is an id of the store in which all runs share one table; SQLite numbers each run's records anew.
QUALIFY row_number() OVER (PARTITION BY i.event_id, i.input_asset_key
    ORDER BY s.store_id = i.store_id AND s.storage_id = p.storage_id DESC NULLS LAST, s.occurred_at DESC NULLS LAST) = 1
