-- The payloads that are not there to be read.
-- Grain: one row for each entry that names one. Order: none.
-- Columns: place, event_type, sha256, problem (erased or missing), text (always NULL).
SELECT r.place, r.event_type, r.sha256, g.problem, NULL::JSON AS text
FROM payload_references AS r
JOIN gone_payloads AS g ON g.sha256 = r.sha256
