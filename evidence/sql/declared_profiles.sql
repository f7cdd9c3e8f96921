-- The delivery profiles that were declared, as recorded.
-- Grain: one row for each declaration. Order: as declared, what is sealed first.
-- Columns: index (NULL while unsealed), data (JSON text).
SELECT index, data::VARCHAR
FROM events
WHERE event_type = 'delivery.declared.v1' AND run_id = ''
ORDER BY index NULLS LAST, recorded_at, event_id
