-- What the view `deliveries` shows, calculated outside of SQL.
-- Parameters: rows (a JSON list of objects).
CREATE TABLE delivery_rows AS
SELECT unnest(from_json($rows::JSON, '[{"product":"VARCHAR","partition":"VARCHAR","profile":"VARCHAR","profile_sha256":"VARCHAR","run_id":"VARCHAR","ended_at":"BIGINT","closed":"BOOLEAN","asset_key":"VARCHAR","verdict":"VARCHAR","decision":"VARCHAR","in_force":"VARCHAR","reason_code":"VARCHAR","reason":"VARCHAR","reason_codes":["VARCHAR"],"superseded":["VARCHAR"],"evidence":[{"name":"VARCHAR","sha256":"VARCHAR","index":"BIGINT"}],"sign_off":"VARCHAR","signed_off_by":"VARCHAR","signed_off_at":"BIGINT","sign_off_lapsed":"VARCHAR"}]'), max_depth := 2)
