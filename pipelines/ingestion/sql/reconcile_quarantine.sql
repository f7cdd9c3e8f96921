-- One row a refused line that is kept of these files, unordered: source_sha256, line_number, reason_codes.
-- $1: array of the files' SHA-256.
SELECT source_sha256, line_number, reason_codes
FROM ticket_quarantine
WHERE source_sha256 IN (SELECT unnest(CAST($1 AS TEXT[])))
