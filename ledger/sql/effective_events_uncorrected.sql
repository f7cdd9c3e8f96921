-- `effective_events` of a snapshot in which nothing was corrected: the events as they are. It need not read every
-- event_id to find out, which costs more than everything else in most queries.
-- Grain: one row for each event. Columns: those of `effective_events`, in its order. Order: none.
SELECT *, NULL::VARCHAR AS amended_by
FROM events
