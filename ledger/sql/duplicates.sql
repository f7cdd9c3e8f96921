-- Records and events that the log has more than once.
-- Grain: one row for each that is repeated, at most 100. Order: second.
-- Columns: what, first (index), second (index). Parameters: paths (segment files).
WITH e AS (SELECT index, event_id, store_id, run_id, storage_id FROM read_parquet($paths))
SELECT what, first, second
FROM (
    SELECT 'record ' || storage_id || ' of run ' || run_id AS what, min(index) AS first, max(index) AS second
    FROM e WHERE storage_id IS NOT NULL
    GROUP BY store_id, run_id, storage_id HAVING count(*) > 1
    UNION ALL
    SELECT 'event ' || event_id, min(index), max(index)
    FROM e WHERE storage_id IS NULL  -- a record's event_id has been found to follow from what is grouped above
    GROUP BY event_id HAVING count(*) > 1
)
ORDER BY second
LIMIT 100
