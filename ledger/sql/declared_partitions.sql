-- What was declared of the partitions of assets, as recorded.
-- Grain: one row for each declaration. Order: as declared, what is sealed first.
-- Columns: sha256 (of the extent), asset_keys (list), data (JSON text).
SELECT data->>'$.sha256', from_json(data->'$.asset_keys', '["VARCHAR"]'), data::VARCHAR
FROM events
WHERE event_type = 'partitions.declared.v1' AND run_id = ''
ORDER BY index NULLS LAST, recorded_at, event_id
