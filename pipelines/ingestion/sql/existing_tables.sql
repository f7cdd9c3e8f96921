-- One row: how many of the warehouse's three tables are there.
SELECT count(*)
FROM information_schema.tables
WHERE table_schema = current_schema() AND table_name IN ('raw_ticket_event', 'customer_dim', 'ticket_fact')
