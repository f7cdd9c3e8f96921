-- The table `held.entries` of all entries without their bytes, and the view `all_entries` over it. The bytes are half
-- of an entry, and whoever asks for them reads `stored_entries`.
-- Grain: one row for each entry. Columns: those of `all_entries`. Order: none.
CREATE SCHEMA IF NOT EXISTS held;
CREATE TABLE held.entries AS SELECT * EXCLUDE entry FROM stored_entries;
CREATE OR REPLACE VIEW all_entries AS SELECT *, NULL::BLOB AS entry FROM held.entries;
