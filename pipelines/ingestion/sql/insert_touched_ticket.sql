-- Remember which tickets of Silver the batch writes; the first time counts.
INSERT INTO touched_ticket SELECT ticket_id, is_known FROM newest_ticket ON CONFLICT (ticket_id) DO NOTHING
