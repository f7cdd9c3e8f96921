-- `events` as their entries have them: the data of one whose payload is kept outside is the reference to it.
-- Grain: one row for each event. Columns: those of `events`, in its order. Order: none.
SELECT * EXCLUDE (entry, place, data, source_digest), data::JSON AS data, source_digest, NULL::VARCHAR AS payload
FROM all_entries
