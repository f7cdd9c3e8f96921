-- No row when the mart counts as many tickets as Silver has.
SELECT counted.n AS counted, there.n AS there
FROM (SELECT coalesce(sum(ticket_count), 0) AS n FROM {{ ref('support_kpi_daily') }}) AS counted
CROSS JOIN (SELECT count(*) AS n FROM {{ source('silver', 'ticket_fact') }}) AS there
WHERE counted.n <> there.n
