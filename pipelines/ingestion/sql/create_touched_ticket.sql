-- touched_ticket: one row a ticket of Silver that the batch wrote, and whether Silver had it before the batch. Lives as
-- long as the connection.
CREATE TEMPORARY TABLE touched_ticket (
    ticket_id TEXT    PRIMARY KEY,
    is_known  BOOLEAN NOT NULL
)
