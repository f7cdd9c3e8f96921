-- Make room for the next part of the batch.
DROP TABLE newest_ticket;
DROP TABLE incoming_ticket
