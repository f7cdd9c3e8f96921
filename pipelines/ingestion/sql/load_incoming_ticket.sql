-- Add rows to incoming_ticket, one a position in the arrays, in the table's column order.
-- $1 … $17: arrays of text; $18 … $21: arrays of timestamps; all of one length.
INSERT INTO incoming_ticket
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
    unnest(CAST($13 AS TEXT[])),
    unnest(CAST($14 AS TEXT[])),
    unnest(CAST($15 AS TEXT[])),
    unnest(CAST($16 AS TEXT[])),
    unnest(CAST($17 AS TEXT[])),
    unnest(CAST($18 AS TIMESTAMPTZ[])),
    unnest(CAST($19 AS TIMESTAMPTZ[])),
    unnest(CAST($20 AS TIMESTAMPTZ[])),
    unnest(CAST($21 AS TIMESTAMPTZ[]))
