-- Remember to which partitions late tickets of a batch will be written; run before Bronze has them. Returns one row a
-- partition: partition_key, ticket_count.
-- $1 batch id, $2 the watermark before the batch, $3 run id, $4 time of the write.
INSERT INTO late_partition (batch_id, partition_key, ticket_count, ingest_run_id, arrived_at)
SELECT $1, CAST(CAST(created_at AS DATE) AS TEXT), count(*), $3, CAST($4 AS TIMESTAMPTZ)
FROM (
    SELECT DISTINCT source_id, source_fingerprint, created_at
    FROM incoming_ticket
    WHERE created_at < CAST($2 AS TIMESTAMPTZ)
) AS late
WHERE NOT EXISTS (
    SELECT 1 FROM raw_ticket_event AS event
    WHERE event.source_id = late.source_id AND event.source_fingerprint = late.source_fingerprint
)
GROUP BY CAST(created_at AS DATE)
ON CONFLICT (batch_id, partition_key, ingest_run_id) DO UPDATE SET
    ticket_count = late_partition.ticket_count + excluded.ticket_count,
    told_run_id = NULL
RETURNING partition_key, ticket_count
