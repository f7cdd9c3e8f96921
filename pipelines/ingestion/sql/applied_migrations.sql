-- One row a migration that was applied: version, name, sha256. Order: version.
SELECT version, name, sha256 FROM warehouse_migration ORDER BY version
