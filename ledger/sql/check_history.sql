-- How each check comes out in run after run: its newest result, since when it has been that, and the ones before.
-- A run that planned it and never evaluated it counts: it breaks a row of passes.
-- Grain: one row for each asset × check × partition that a closed run dealt with. Order: none.
-- asset_key: the asset
-- check_name: the check
-- partition: the partition key
-- outcome: that in the newest run (as in `outcomes`)
-- verdict: that outcome's place in the lattice
-- reason_code: why it is not passed
-- run_id: the newest run
-- checked_at: when that run ended, UTC
-- since: when the first of the newest runs in a row with this verdict ended, UTC
-- in_a_row: how many runs in a row had this verdict
-- last_passed_at: when the newest run ended in which it passed, UTC; NULL when it never did
-- results: the verdicts of the newest 20 runs, the newest first
-- runs: how many runs there are
WITH found AS (
    SELECT o.asset_key, o.check_name, o.partition, o.outcome, o.verdict, o.reason_code, o.run_id,
        coalesce(r.ended_at, r.started_at) AS ended,
        row_number() OVER newest_first AS age,
        first_value(o.verdict) OVER newest_first <> o.verdict AS another
    FROM outcomes AS o
    JOIN runs AS r ON r.run_id = o.run_id
    WHERE o.check_name IS NOT NULL
    WINDOW newest_first AS (PARTITION BY o.asset_key, o.check_name, o.partition
        ORDER BY coalesce(r.ended_at, r.started_at) DESC, o.run_id DESC)
), counted AS (
    SELECT *, coalesce(min(age) FILTER (another) OVER (PARTITION BY asset_key, check_name, partition),
        count(*) OVER (PARTITION BY asset_key, check_name, partition) + 1) - 1 AS in_a_row
    FROM found
)
SELECT asset_key, check_name, partition,
    arg_min(outcome, age) AS outcome, arg_min(verdict, age) AS verdict,
    any_value(reason_code) FILTER (age = 1) AS reason_code, arg_min(run_id, age) AS run_id,
    max(ended) AS checked_at, min(ended) FILTER (age <= in_a_row) AS since, any_value(in_a_row) AS in_a_row,
    max(ended) FILTER (verdict = 'passed') AS last_passed_at,
    list(verdict ORDER BY age) FILTER (age <= 20) AS results, count(*) AS runs
FROM counted GROUP BY asset_key, check_name, partition
