-- One row: how many tickets of Silver take a newer version.
SELECT count(*) FROM newest_ticket WHERE is_known
