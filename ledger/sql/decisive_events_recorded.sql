-- `decisive_events` as their entries have them.
-- Grain: one row for each event. Columns: those of `decisive_events`. Order: none.
SELECT * EXCLUDE (entry, place, data), data::JSON AS data
FROM all_entries
