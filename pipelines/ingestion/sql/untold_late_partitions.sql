-- One row a partition that late tickets changed and nobody told of: partition_key, ticket_count, batch ids (comma-separated).
-- Order: partition_key.
SELECT partition_key, CAST(sum(ticket_count) AS BIGINT), string_agg(DISTINCT batch_id, ',' ORDER BY batch_id)
FROM late_partition
WHERE told_run_id IS NULL
GROUP BY partition_key
ORDER BY partition_key
