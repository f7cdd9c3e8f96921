-- What is handed over, for an index.
-- Grain: one row for each product × partition. Columns: product, partition, the decision in force, verdict, reason,
-- run_id, sign_off.
-- Order: product, partition, the latest first. Parameters: none.
SELECT product, partition, in_force, verdict, coalesce(reason, ''), run_id, coalesce(sign_off, '')
FROM deliveries ORDER BY product, partition DESC
