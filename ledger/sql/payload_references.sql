-- Which entries leave their payload outside, and under which digest.
-- Grain: one row for each such entry. Columns: place, event_type, sha256. Order: none.
-- Parameters: start (how the text of such data begins), reference (a regular expression with the digest as its group).
SELECT place, event_type, regexp_extract(data, $reference, 1) AS sha256
FROM all_entries
WHERE starts_with(data, $start) AND regexp_full_match(data, $reference)
