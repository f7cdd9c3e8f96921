-- Remember that it was told which of these partitions changed, unless more came to one since it was read: that is told again.
-- $1: array of partition keys, $2: array of how many late tickets were told of each, $3 run id.
UPDATE late_partition SET told_run_id = $3
WHERE told_run_id IS NULL AND partition_key IN (
    SELECT untold.partition_key
    FROM (
        SELECT partition_key, sum(ticket_count) AS ticket_count
        FROM late_partition
        WHERE told_run_id IS NULL
        GROUP BY partition_key
    ) AS untold
    JOIN (
        SELECT unnest(CAST($1 AS TEXT[])) AS partition_key, unnest(CAST($2 AS BIGINT[])) AS ticket_count
    ) AS told ON told.partition_key = untold.partition_key AND told.ticket_count = untold.ticket_count
)
