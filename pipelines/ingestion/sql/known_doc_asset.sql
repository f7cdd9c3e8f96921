-- One row a source that was landed: source_id, manifest_id, declared_at.
-- $1: array of source ids.
SELECT source_id, manifest_id, declared_at FROM raw_doc_asset WHERE source_id IN (SELECT unnest(CAST($1 AS TEXT[])))
