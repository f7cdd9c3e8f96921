-- The newest runs that fit, and how many fit in all.
-- Grain: one row for each run. Order: started_at descending, then run_id. Columns: run_id, total.
-- Parameters: each NULL where anything fits. since, until (microseconds since 1970, of a run's start), jobs,
--   releases, triggers (lists of text; a trigger is a kind or a name), asset, partition (keys that the run planned,
--   produced or checked); row_limit.
SELECT run_id, count(*) OVER () AS total
FROM run_rows AS r
WHERE ($since::BIGINT IS NULL OR epoch_us(r.started_at) >= $since)
    AND ($until::BIGINT IS NULL OR epoch_us(r.started_at) < $until)
    AND ($jobs::VARCHAR[] IS NULL OR list_contains($jobs, r.job_name))
    AND ($releases::VARCHAR[] IS NULL OR list_contains($releases, r.release_id))
    AND ($triggers::VARCHAR[] IS NULL OR list_contains($triggers, r.trigger) OR list_contains($triggers, r.trigger_name))
    AND ($asset::VARCHAR IS NULL OR r.run_id IN (SELECT run_id FROM events WHERE asset_key = $asset))
    AND ($partition::VARCHAR IS NULL OR r.partition = $partition
        OR r.run_id IN (SELECT run_id FROM events WHERE partition = $partition AND ($asset::VARCHAR IS NULL OR asset_key = $asset)))
ORDER BY r.started_at DESC, r.run_id
LIMIT $row_limit
