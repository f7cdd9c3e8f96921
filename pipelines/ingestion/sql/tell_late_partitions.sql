-- Remember that it was told which of these partitions changed. $1: array of partition keys, $2 run id.
UPDATE late_partition SET told_run_id = $2
WHERE told_run_id IS NULL AND partition_key IN (SELECT unnest(CAST($1 AS TEXT[])))
