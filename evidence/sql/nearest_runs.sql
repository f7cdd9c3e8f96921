-- The runs whose ids are most like a text that is the id of none.
-- Grain: one row for each of at most three runs. Columns: run_id. Order: the likest first.
-- Parameters: text.
SELECT run_id
FROM (SELECT DISTINCT run_id FROM events WHERE run_id <> '')
ORDER BY jaro_winkler_similarity(run_id, $text) DESC, run_id
LIMIT 3
