-- Where given events lie in the log.
-- Grain: one row. Columns: last_index (NULL where none is sealed), unsealed, found.
-- Parameters: event_ids.
SELECT max(index) AS last_index, count(*) FILTER (index IS NULL) AS unsealed, count(*) AS found
FROM events WHERE event_id IN (SELECT unnest($event_ids::VARCHAR[]))
