-- One row: how many payloads of the batch Bronze did not have.
SELECT count(*) FROM fresh_ticket
