-- Runs that fit, for a program.
-- Grain: one row for each run. Columns: those of `runs`. Order: started_at descending, then run_id.
-- Parameters: each NULL where anything fits. verdicts (list), since (moment), job, release.
SELECT *
FROM runs
WHERE ($verdicts::VARCHAR[] IS NULL OR list_contains($verdicts, verdict))
    AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since)
    AND ($job::VARCHAR IS NULL OR job_name = $job)
    AND ($release::VARCHAR IS NULL OR release_id = $release)
ORDER BY started_at DESC, run_id
