-- One row a column of the warehouse's tables that are there: table, column. Order: none.
-- $1: array of table names.
SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT)
FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name IN (SELECT unnest(CAST($1 AS TEXT[])))
