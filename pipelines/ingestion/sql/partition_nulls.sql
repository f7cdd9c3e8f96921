-- One row: tickets of a partition, then for each required column of Silver how many lack it.
-- A blank text counts as lacking. $1 start of the day, $2 start of the next.
SELECT
    count(*) AS ticket_count,
    count(*) FILTER (WHERE trim(coalesce(status, '')) = '') AS status,
    count(*) FILTER (WHERE trim(coalesce(priority, '')) = '') AS priority,
    count(*) FILTER (WHERE trim(coalesce(product_line, '')) = '') AS product_line,
    count(*) FILTER (WHERE trim(coalesce(pii_level, '')) = '') AS pii_level,
    count(*) FILTER (WHERE trim(coalesce(quality_gate, '')) = '') AS quality_gate,
    count(*) FILTER (WHERE trim(coalesce(owner, '')) = '') AS owner,
    count(*) FILTER (WHERE trim(coalesce(source_id, '')) = '') AS source_id,
    count(*) FILTER (WHERE trim(coalesce(ingest_batch_id, '')) = '') AS ingest_batch_id
FROM ticket_fact
WHERE created_at >= CAST($1 AS TIMESTAMPTZ) AND created_at < CAST($2 AS TIMESTAMPTZ)
