-- One row a priority that has tickets which are not done.
SELECT priority, count(*) AS ticket_count
FROM {{ ref('tickets') }}
WHERE NOT is_done
GROUP BY priority
