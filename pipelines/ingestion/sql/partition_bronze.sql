-- One row: Bronze events of a partition, tickets they are about, and how many of those Silver lacks.
-- $1 start of the day, $2 start of the next.
SELECT
    count(*) AS event_count,
    count(DISTINCT event.ticket_id) AS ticket_count,
    count(DISTINCT CASE WHEN fact.ticket_id IS NULL THEN event.ticket_id END) AS without_silver_count
FROM raw_ticket_event AS event
LEFT JOIN ticket_fact AS fact ON fact.ticket_id = event.ticket_id
WHERE event.created_at >= CAST($1 AS TIMESTAMPTZ) AND event.created_at < CAST($2 AS TIMESTAMPTZ)
