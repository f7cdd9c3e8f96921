-- When the newest entry was recorded, and when the latest thing recorded happened. Microseconds since 1970, UTC.
-- Grain: one row; NULLs where nothing is recorded.
SELECT epoch_us(max(recorded_at)) AS recorded_at, epoch_us(max(occurred_at)) AS occurred_at
FROM events
