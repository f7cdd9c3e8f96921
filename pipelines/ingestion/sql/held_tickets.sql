-- Which of these tickets the warehouse holds already, in Bronze and, this version or a newer one, in Silver.
-- One row each: source_id, source_fingerprint. Order: none.
-- $1 fingerprints, $2 ticket ids, $3 instants the versions date from, each joined by commas; $4 source ids, joined
-- by the unit separator. One text is bound several times faster than an array. Where a source id holds a separator
-- itself, its tickets are not found; what is found is held.
WITH asked AS (
    SELECT
        unnest(string_to_array($1, ',')) AS source_fingerprint,
        unnest(string_to_array($2, ',')) AS ticket_id,
        CAST(unnest(string_to_array($3, ',')) AS TIMESTAMPTZ) AS version_at,
        unnest(string_to_array($4, chr(31))) AS source_id
)
SELECT event.source_id, event.source_fingerprint
FROM asked
JOIN raw_ticket_event AS event
    ON event.source_id = asked.source_id AND event.source_fingerprint = asked.source_fingerprint
JOIN ticket_fact AS fact ON fact.ticket_id = asked.ticket_id
WHERE
    (coalesce(fact.updated_at, fact.created_at), fact.source_fingerprint)
    >= (asked.version_at, asked.source_fingerprint)
