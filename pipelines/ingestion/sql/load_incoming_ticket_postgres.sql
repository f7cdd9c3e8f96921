-- Add rows to incoming_ticket, in the table's column order.
COPY incoming_ticket FROM STDIN
