-- One row a Silver ticket that is of a partition, or of which Bronze has an event in it, unordered: ticket_id,
-- source_fingerprint (of the version it holds), in_partition.
-- $1 start of the day, $2 start of the next.
SELECT
    ticket_id, source_fingerprint,
    coalesce(created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ), FALSE) AS in_partition
FROM ticket_fact
WHERE (created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)) OR ticket_id IN (
    SELECT ticket_id FROM raw_ticket_event
    WHERE created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)
)
