-- `events` of a ledger that keeps no payload outside its entry, so that nothing has to be looked up.
-- Grain: one row for each event. Columns: those of `events`, in its order. Order: none.
SELECT * EXCLUDE (entry, place, data, source_digest), data::JSON AS data, source_digest,
    CASE WHEN starts_with(data, '{"blob_sha256":') THEN 'missing' END AS payload
FROM all_entries
