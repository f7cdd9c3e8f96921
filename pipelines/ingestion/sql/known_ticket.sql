-- One row a ticket of the batch that Silver already holds: ticket_id.
SELECT ticket_id FROM ticket_fact WHERE ticket_id IN (SELECT ticket_id FROM incoming_ticket)
