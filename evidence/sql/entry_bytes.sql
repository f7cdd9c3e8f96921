-- The bytes of one entry.
-- Grain: one row, none where there is no such entry. Columns: entry. Parameters: number (its index).
SELECT entry FROM entries WHERE index = $number
