-- Records of given runs that read differently at their source later.
-- Grain: one row for each run. Columns: run_id, conflicts. Order: run_id.
-- Parameters: run_ids.
SELECT run_id, count(*) AS conflicts FROM events
WHERE event_type = 'record.conflicted.v1' AND run_id IN (SELECT unnest($run_ids::VARCHAR[]))
GROUP BY run_id ORDER BY run_id
