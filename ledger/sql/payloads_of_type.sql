-- The payloads of one type of events, out of the files in which they are kept.
-- Grain: one row for each entry that names one of the files. Order: none.
-- Columns: place, event_type, sha256, problem (altered or missing, else NULL), text (JSON; NULL where there is a problem).
-- Parameters of the macro: kind (the type), files (their paths; the name of each is the digest of its content).
SELECT r.place, kind AS event_type, r.sha256,
    CASE WHEN f.sha256 IS NULL THEN 'missing' WHEN f.text IS NULL THEN 'altered' END AS problem, f.text
FROM payload_references AS r
LEFT JOIN (
    SELECT parse_filename(filename) AS sha256,
        CASE WHEN sha256(content) = parse_filename(filename) THEN try_cast(try(decode(content)) AS JSON) END AS text
    FROM read_blob(files)
) AS f ON f.sha256 = r.sha256
WHERE r.event_type = kind AND r.sha256 NOT IN (SELECT sha256 FROM gone_payloads)
