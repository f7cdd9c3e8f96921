-- One row a ticket. `day` is the UTC day of its partition.
SELECT
    ticket_id,
    CAST(created_at AT TIME ZONE 'UTC' AS DATE) AS day,
    product_line,
    priority,
    status IN ('resolved', 'closed') AS is_done,
    resolved_at IS NOT NULL AND sla_due_at IS NOT NULL AND resolved_at > sla_due_at AS is_late,
    date_diff('minute', created_at, resolved_at) AS resolution_minutes
FROM {{ source('silver', 'ticket_fact') }}
