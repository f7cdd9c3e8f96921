-- The partitions that assets have by their definitions.
-- Parameters: rows (a JSON list of objects).
CREATE TABLE partition_extents AS
SELECT unnest(from_json($rows::JSON, '[{"asset_keys":["VARCHAR"],"definition":"VARCHAR","keys":["VARCHAR"]}]'), max_depth := 2)
