-- How long the newest records of the orchestrator took from happening to being recorded.
-- Grain: one row. Columns: median (microseconds; NULL where there are no records). Order: none.
SELECT median(epoch_us(recorded_at) - epoch_us(occurred_at))::BIGINT
FROM (SELECT recorded_at, occurred_at FROM events WHERE storage_id IS NOT NULL ORDER BY recorded_at DESC LIMIT 1000)
