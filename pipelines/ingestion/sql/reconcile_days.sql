-- One row a UTC day of which Bronze has an event, as days since 1970, unordered.
SELECT DISTINCT CAST(floor(extract(epoch FROM created_at) / 86400) AS BIGINT) AS day FROM raw_ticket_event
