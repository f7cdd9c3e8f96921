-- One row a Bronze event of every ticket of which Bronze or Silver has something in a partition, unordered:
-- source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at, updated_at (the payload's text; NULL
-- where it has none), in_partition (whether the event itself is of the partition).
-- $1 start of the day, $2 start of the next.
SELECT
    source_id, source_fingerprint, ticket_id, ingest_batch_id, created_at,
    CAST(payload AS JSON) ->> 'updated_at' AS updated_at,
    created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ) AS in_partition
FROM raw_ticket_event
WHERE ticket_id IN (
    SELECT ticket_id FROM raw_ticket_event
    WHERE created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)
    UNION
    SELECT ticket_id FROM ticket_fact
    WHERE created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)
)
