-- warehouse_migration: one row a migration that was applied. Rows are never changed.
CREATE TABLE IF NOT EXISTS warehouse_migration (
    version    BIGINT      PRIMARY KEY,  -- from 1, without a gap
    name       TEXT        NOT NULL,     -- of its file, without the ending
    sha256     TEXT        NOT NULL,     -- of its text, hex
    applied_at TIMESTAMPTZ NOT NULL
)
