-- Where the log records a document.
-- Grain: one row for each sealed record of it. Columns: index. Order: index. Parameters: recorded (event type), sha256.
SELECT index FROM events
WHERE event_type = $recorded AND index IS NOT NULL AND contains(data::VARCHAR, $sha256)
ORDER BY index
