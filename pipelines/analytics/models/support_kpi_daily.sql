-- One row a day × product line.
SELECT
    day,
    product_line,
    count(*) AS ticket_count,
    count(*) FILTER (is_done) AS resolved_count,
    count(*) FILTER (priority = 'p1_critical') AS critical_count,
    count(*) FILTER (is_late) AS late_count,
    median(resolution_minutes) AS median_resolution_minutes
FROM {{ ref('tickets') }}
GROUP BY day, product_line
