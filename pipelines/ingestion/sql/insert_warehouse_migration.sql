-- Remember that a migration was applied now. $1 version, $2 name, $3 SHA-256.
INSERT INTO warehouse_migration VALUES (CAST($1 AS BIGINT), $2, $3, now())
