-- What was signed off of given products, as recorded, but for what was voided since.
-- Grain: one row for each sign-off. Order: as recorded, the latest last.
-- Columns: index (NULL while unsealed), event_id, occurred_at (microseconds since 1970), data (JSON text).
-- Parameters: asset_keys.
SELECT index, event_id, epoch_us(occurred_at), data::VARCHAR
FROM events
WHERE event_type = 'delivery.signed_off.v1' AND asset_key IN (SELECT unnest($asset_keys::VARCHAR[]))
    AND event_id NOT IN (SELECT target_event_id FROM amendments WHERE action = 'voided')
ORDER BY index NULLS LAST, occurred_at, event_id
