-- Which entries leave their payload outside, under which digest, and which of these payloads are not there.
-- Grain: one row for each such entry; one for each payload that is erased or missing.
CREATE TABLE payload_references (place BIGINT, event_type VARCHAR, sha256 VARCHAR);
CREATE TABLE gone_payloads (sha256 VARCHAR, problem VARCHAR)
