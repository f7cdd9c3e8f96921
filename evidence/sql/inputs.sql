-- What given materializations were made from, as far as Dagster says it and the ledger has it.
-- Grain: one row for each materialization × input. Columns: event_id, input_event_id. Order: both.
-- Parameters: event_ids.
SELECT event_id, input_event_id FROM lineage
WHERE event_id IN (SELECT unnest($event_ids::VARCHAR[])) AND input_event_id IS NOT NULL
ORDER BY event_id, input_event_id
