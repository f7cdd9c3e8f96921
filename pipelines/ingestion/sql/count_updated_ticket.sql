-- One row: how many tickets that Silver had took a newer version.
SELECT count(*) FROM touched_ticket WHERE is_known
