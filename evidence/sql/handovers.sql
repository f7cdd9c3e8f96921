-- What was handed over of one partition of one product.
-- Grain: one row for each recording. Columns: index, data (JSON text). Order: index.
-- Parameters: recorded (an event type), product, partition.
SELECT index, data::VARCHAR
FROM events
WHERE event_type = $recorded
    AND data->>'$.handover.product' = $product AND data->>'$.handover.partition' = $partition
ORDER BY index
