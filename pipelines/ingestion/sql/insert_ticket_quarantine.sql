-- Quarantine: keep every refused line of a file once. Returns one row a line that was new: line_number.
-- $1 … $6: arrays of text, $7: array of line numbers, all of one length; $8 run id, $9 time of ingest.
INSERT INTO ticket_quarantine (
    source_sha256, batch_id, file_name, ticket_id, reason_codes, reason, line_number, ingest_run_id, quarantined_at
)
SELECT
    unnest(CAST($1 AS TEXT[])),
    unnest(CAST($2 AS TEXT[])),
    unnest(CAST($3 AS TEXT[])),
    unnest(CAST($4 AS TEXT[])),
    unnest(CAST($5 AS TEXT[])),
    unnest(CAST($6 AS TEXT[])),
    unnest(CAST($7 AS BIGINT[])),
    $8,
    CAST($9 AS TIMESTAMPTZ)
ON CONFLICT (source_sha256, line_number) DO NOTHING
RETURNING line_number
