-- Silver: one row a customer. The first organisation known for a customer stays.
INSERT INTO customer_dim
SELECT customer_id, org_id
FROM (
    SELECT
        customer_id,
        org_id,
        row_number() OVER (
            PARTITION BY customer_id
            ORDER BY CASE WHEN org_id IS NULL THEN 1 ELSE 0 END, created_at, source_fingerprint
        ) AS place
    FROM incoming_ticket
) AS ranked
WHERE place = 1
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET org_id = excluded.org_id
WHERE customer_dim.org_id IS NULL AND excluded.org_id IS NOT NULL
