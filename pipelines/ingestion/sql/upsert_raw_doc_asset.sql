-- Documents: one row a source. Returns one row a source inserted or changed: source_id.
-- $1 … $12: arrays of text, $13: of sizes, $14: of times, all of one length and no source twice; $15 release id,
-- $16 run id, $17 time of ingest. Column order of the arrays: as listed.
--
-- The newest manifest wins, by the time it was made and, within one instant, by its id. The same again changes nothing.
INSERT INTO raw_doc_asset (
    source_id, manifest_id, batch_id, asset_type, license_tag, owner, checksum_sha256, object_key, judgement,
    reason_codes, metadata_status, pii_scan_status, size_bytes, declared_at, release_id, ingest_run_id, ingested_at
)
SELECT
    unnest(CAST($1 AS TEXT[])),
    unnest(CAST($2 AS TEXT[])),
    unnest(CAST($3 AS TEXT[])),
    unnest(CAST($4 AS TEXT[])),
    unnest(CAST($5 AS TEXT[])),
    unnest(CAST($6 AS TEXT[])),
    unnest(CAST($7 AS TEXT[])),
    unnest(CAST($8 AS TEXT[])),
    unnest(CAST($9 AS TEXT[])),
    unnest(CAST($10 AS TEXT[])),
    unnest(CAST($11 AS TEXT[])),
    unnest(CAST($12 AS TEXT[])),
    unnest(CAST($13 AS BIGINT[])),
    unnest(CAST($14 AS TIMESTAMPTZ[])),
    $15,
    $16,
    CAST($17 AS TIMESTAMPTZ)
ON CONFLICT (source_id) DO UPDATE SET
    manifest_id = excluded.manifest_id,
    batch_id = excluded.batch_id,
    asset_type = excluded.asset_type,
    license_tag = excluded.license_tag,
    owner = excluded.owner,
    checksum_sha256 = excluded.checksum_sha256,
    object_key = excluded.object_key,
    judgement = excluded.judgement,
    reason_codes = excluded.reason_codes,
    metadata_status = excluded.metadata_status,
    pii_scan_status = excluded.pii_scan_status,
    size_bytes = excluded.size_bytes,
    declared_at = excluded.declared_at,
    release_id = excluded.release_id,
    ingest_run_id = excluded.ingest_run_id,
    ingested_at = excluded.ingested_at
WHERE
    (excluded.declared_at, excluded.manifest_id) > (raw_doc_asset.declared_at, raw_doc_asset.manifest_id)
    OR (
        (excluded.declared_at, excluded.manifest_id) = (raw_doc_asset.declared_at, raw_doc_asset.manifest_id)
        AND (
            excluded.checksum_sha256, excluded.size_bytes, excluded.batch_id, excluded.asset_type,
            excluded.license_tag, excluded.owner, excluded.judgement, excluded.reason_codes,
            excluded.metadata_status, excluded.pii_scan_status
        ) <> (
            raw_doc_asset.checksum_sha256, raw_doc_asset.size_bytes, raw_doc_asset.batch_id,
            raw_doc_asset.asset_type, raw_doc_asset.license_tag, raw_doc_asset.owner, raw_doc_asset.judgement,
            raw_doc_asset.reason_codes, raw_doc_asset.metadata_status, raw_doc_asset.pii_scan_status
        )
    )
RETURNING source_id
