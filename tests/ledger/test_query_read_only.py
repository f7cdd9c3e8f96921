"""SQL over a ledger answers questions about it and can do nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from run_evidence.ledger import IntegrityError, Ledger, UsageError
from run_evidence.ledger.query.snapshot import Snapshot, open_snapshot, views_in
from run_evidence.ledger.query.sql_query import run_query, run_query_arrow
from tests.ledger.samples import NOON, RUN, Clock, own, records


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sealed records, one unsealed event; beside the ledger, files that are nobody's business."""
    folder = tmp_path_factory.mktemp("prepared")
    made = Ledger(folder / "ledger", clock=Clock())
    made.append(records(range(6)))
    made.seal()
    made.append([own("run.seen.v1")])
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    (folder / "secret.json").write_text('{"a":1}')
    (folder / "target").mkdir()
    return folder


@pytest.fixture
def ledger(prepared: Path, tmp_path: Path) -> Ledger:
    """Return a copy of that ledger, with the files next to it."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return Ledger(tmp_path / "ledger", clock=Clock())


HOSTILE = [
    "COPY (SELECT 1) TO '{target}/x.csv'",
    "COPY events TO '{target}/x.parquet' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}/x.csv'",
    "/* explain */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}/x.csv'",
    "--\nexplain analyze copy (select 1) to '{target}/x.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{target}/x.csv'",
    "EXPLAIN ANALYZE EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}/x.csv'",
    "EXPORT DATABASE '{target}'",
    "IMPORT DATABASE '{target}'",
    "ATTACH '{target}/x.duckdb' AS x",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{target}/x.so'",
    "FORCE INSTALL httpfs FROM community",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "SET memory_limit = '1TB'",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET GLOBAL lock_configuration = false",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "PREPARE q AS SELECT 1",
    "EXECUTE q",
    "CREATE TABLE t (i INTEGER)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW events AS SELECT 1",
    "CREATE MACRO f(x) AS x + 1",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "DROP VIEW events",
    "ALTER VIEW events RENAME TO gone",
    "INSERT INTO unsealed_entries SELECT * FROM all_entries",
    "UPDATE unsealed_entries SET run_id = 'x'",
    "DELETE FROM unsealed_entries",
    "TRUNCATE unsealed_entries",
    "MERGE INTO unsealed_entries USING runs ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "WITH gone AS (DELETE FROM unsealed_entries RETURNING *) SELECT * FROM gone",
    "WITH new AS (INSERT INTO unsealed_entries SELECT * FROM all_entries RETURNING *) SELECT count(*) FROM new",
    "SELECT * FROM (DELETE FROM unsealed_entries RETURNING *)",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW events",
    "; ; COPY (SELECT 1) TO '{target}/x.csv'",
    "",
    ";",
    "-- nothing",
    "SELECT * FROM read_csv('{secret}.csv')",
    "SELECT * FROM read_csv_auto('{secret}.csv')",
    "SELECT * FROM read_json('{secret}.json')",
    "SELECT * FROM read_text('{secret}.csv')",
    "SELECT * FROM read_blob('{secret}.csv')",
    "SELECT * FROM read_parquet('{root}/log/*.parquet')",
    "SELECT * FROM read_parquet('{root}/../target/x.parquet')",
    "SELECT * FROM parquet_metadata('{secret}.parquet')",
    "SELECT * FROM sniff_csv('{secret}.csv')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM '{secret}.csv'",
    "SELECT * FROM '{secret}.json'",
    "FROM '/etc/passwd'",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('https://example.com/x')",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT content FROM read_text('{root}/ledger.json')",
    "SELECT * FROM duckdb_secrets() JOIN read_csv('{secret}.csv') ON true",
    "SELECT getenv('HOME')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{target}/x.csv''')",
    "SELECT * FROM query('SELECT 1; DROP VIEW events')",
    "SELECT * FROM query_table('{secret}.csv')",
    "SELECT * FROM postgres_scan('host=x', 'public', 't')",
    "SELECT * FROM sqlite_scan('{secret}', 't')",
    "SELECT * FROM delta_scan('{root}/log')",
    "SELECT * FROM snapshot",
    "SELECT * FROM connection",
    "SELECT nextval('s')",
]


def _ask(ledger: Ledger, sql: str, **parameters: str) -> list[tuple[object, ...]]:
    with open_snapshot(ledger, views=sorted(views_in(sql))) as snapshot:
        return run_query(snapshot, sql, parameters).rows


@pytest.fixture(scope="module")
def asked(prepared: Path) -> Iterator[Snapshot]:
    """Open one snapshot that all that is refused is asked of."""
    with open_snapshot(Ledger(prepared / "ledger", clock=Clock())) as snapshot:
        yield snapshot


@pytest.mark.parametrize("sql", HOSTILE, ids=range(len(HOSTILE)))
def test_a_statement_that_does_more_than_ask_is_refused(prepared: Path, asked: Snapshot, sql: str) -> None:
    """With exit code 2, a next step, nothing written anywhere, and a snapshot that still answers."""
    before = {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    text = sql.format(target=prepared / "target", secret=prepared / "secret", root=prepared / "ledger")
    with pytest.raises(UsageError) as caught:
        run_query(asked, text, {})
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    assert run_query(asked, "SELECT count(*) FROM events", {}).rows == [(7,)]
    assert {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == before
    assert not list((prepared / "target").iterdir())


def test_another_ledgers_segments_are_another_ledgers_business(ledger: Ledger, tmp_path: Path) -> None:
    """Only the segments of this snapshot can be read, however they are asked for."""
    other = Ledger(tmp_path / "other", clock=Clock())
    other.append(records(range(3), "other-run"))
    other.seal()
    (theirs,) = other.log().segments
    (ours,) = ledger.log().segments
    with pytest.raises(UsageError, match="reaches outside the ledger"):
        _ask(ledger, f"SELECT count(*) FROM read_parquet('{theirs.path}')")
    assert _ask(ledger, f"SELECT count(*) FROM read_parquet('{ours.path}')") == [(6,)]


def test_variables_of_the_program_are_no_tables(ledger: Ledger) -> None:
    """DuckDB would look into the caller's frames; it must not."""
    import pyarrow as pa

    secret = pa.table({"a": [1]})
    with pytest.raises(UsageError, match="secret"):
        _ask(ledger, "SELECT * FROM secret")
    assert len(secret) == 1


FRIENDLY = [
    "SELECT 1",
    "  select 1  ;  ",
    "-- why\nSELECT 1 -- because",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "FROM events SELECT count(*)",
    "FROM runs",
    "VALUES (1), (2)",
    "TABLE runs",
    "DESCRIBE events",
    "SUMMARIZE runs",
    "SHOW TABLES",
    "SELECT * FROM duckdb_columns()",
    "EXPLAIN SELECT * FROM runs",
    "EXPLAIN ANALYZE SELECT count(*) FROM events",
    "EXPLAIN (FORMAT json) SELECT 1",
    "SELECT 1 UNION ALL SELECT 2",
    "SELECT * EXCLUDE (data) FROM events QUALIFY row_number() OVER (ORDER BY occurred_at) = 1",
    "PIVOT events ON event_type IN ('step.started.v1') USING count(*)",
    "SELECT data->>'$.message' FROM events WHERE data->>'$.message' LIKE 'record%'",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM range(3)",
]


@pytest.mark.soak
@pytest.mark.parametrize("sql", FRIENDLY, ids=range(len(FRIENDLY)))
def test_whatever_asks_is_answered(ledger: Ledger, sql: str) -> None:
    """Every form of a query that DuckDB has."""
    assert _ask(ledger, sql) is not None


@pytest.mark.parametrize(
    ("sql", "wrong", "nearest"),
    [
        ("SELECT asset_kye FROM events", "asset_kye", "asset_key"),
        ("SELECT reason FROM outcomes WHERE verdikt = 'passed'", "verdikt", "verdict"),
        ("SELECT e.occured_at FROM events AS e", "occured_at", "occurred_at"),
        ("SELECT Events.STATUSS FROM runs AS Events", "STATUSS", "status"),
        ("SELECT * FROM materialisations", "materialisations", "materializations"),
        ("SELECT * FROM event", "event", "events"),
        ("SELECT * FROM outcome", "outcome", "outcomes"),
        ("SELECT last_materialised_at FROM assets", "last_materialised_at", "last_materialized_at"),
    ],
)
def test_a_wrong_name_comes_with_the_nearest_right_one(ledger: Ledger, sql: str, wrong: str, nearest: str) -> None:
    """Views and columns, with or without the table's name before them."""
    with pytest.raises(UsageError, match=re.escape(f"names {wrong}, which is not there. Did you mean {nearest}?")):
        _ask(ledger, sql)


def test_a_name_that_is_near_to_nothing_gets_no_suggestion(ledger: Ledger) -> None:
    """A wrong hint is worse than none."""
    with pytest.raises(UsageError) as caught:
        _ask(ledger, "SELECT qqqqqqqq FROM events")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "cannot be parsed"),
        ("SELECT", "cannot be parsed"),
        ("SELECT 'abc", "cannot be parsed"),
        ("SELECT 1 +", "cannot be parsed"),
        ("SELECT event_type::INTEGER FROM events", "The query failed"),
        ("SELECT 1/0 + 'a'::INTEGER", "The query failed"),
        ("SELECT $missing", "missing"),
        ("SELECT no_such_function(1)", "no_such_function"),
        ("SELECT sum(event_type) FROM events", "sum"),
    ],
)
def test_a_query_that_is_wrong_says_what_is_wrong(ledger: Ledger, sql: str, message: str) -> None:
    """It is the asker's mistake, never the ledger's."""
    with pytest.raises(UsageError, match=message) as caught:
        _ask(ledger, sql)
    assert caught.value.next_step


def test_parameters_are_bound_and_never_spliced(ledger: Ledger) -> None:
    """Whatever a value holds, it is a value; a number or a time in text is compared as one."""
    assert _ask(ledger, "SELECT count(*) FROM events WHERE run_id = $run", run=RUN) == [(7,)]
    assert _ask(ledger, "SELECT count(*) FROM events WHERE run_id = $run", run="' OR true --") == [(0,)]
    assert _ask(ledger, "SELECT count(*) FROM events WHERE index < $n", n="4") == [(4,)]
    assert _ask(ledger, "SELECT count(*) FROM events WHERE occurred_at <= $t", t="2026-04-17T12:00:00Z") == [(2,)]
    assert _ask(ledger, "SELECT $a || $b || $a", a="x", b="y") == [("xyx",)]
    assert _ask(ledger, "SELECT 1 LIMIT $n", n="1") == [(1,)]


def test_a_parameter_that_is_not_used_is_a_mistake(ledger: Ledger) -> None:
    """Probably a slip of the pen in one of the two."""
    with pytest.raises(UsageError):
        _ask(ledger, "SELECT 1", run="x")


def test_the_same_rows_come_as_arrow(ledger: Ledger) -> None:
    """For files in Parquet, with DuckDB's types."""
    with open_snapshot(ledger, views=("events",)) as snapshot:
        answer = run_query(snapshot, "SELECT index, occurred_at, event_type FROM events ORDER BY index", {})
        table = run_query_arrow(snapshot, "SELECT index, occurred_at, event_type FROM events ORDER BY index", {})
    assert answer.names == tuple(table.column_names)
    assert answer.types == ("BIGINT", "TIMESTAMP WITH TIME ZONE", "VARCHAR")
    assert [row[0] for row in answer.rows] == table.column("index").to_pylist() == [0, 1, 2, 3, 4, 5, None]
    assert table.column("occurred_at").cast("int64").to_pylist()[0] == NOON


@pytest.mark.parametrize("damage", ["truncated", "missing", "garbage"])
@pytest.mark.parametrize(
    "sql", ["SELECT count(*) FROM events", "SELECT max(data) FROM events", "SELECT * FROM runs"]
)
def test_a_segment_that_cannot_be_read_is_an_integrity_failure(ledger: Ledger, damage: str, sql: str) -> None:
    """Not an empty answer and not the asker's mistake: exit code 3, the file's name, and verify as next step."""
    (segment,) = ledger.log().segments
    content = segment.path.read_bytes()
    if damage == "missing":
        segment.path.unlink()
    else:
        segment.path.write_bytes(content[:-40] if damage == "truncated" else b"PAR1" + b"\0" * 500 + b"PAR1")
    with pytest.raises(IntegrityError, match=segment.path.name) as caught:
        _ask(ledger, sql)
    assert (caught.value.exit_code, caught.value.next_step) == (3, "ledger verify")


def test_a_segment_damaged_inside_is_an_integrity_failure(ledger: Ledger) -> None:
    """Found when the pages are read; the footer was whole."""
    (segment,) = ledger.log().segments
    content = bytearray(segment.path.read_bytes())
    for position in range(100, 2_000):
        content[position] ^= 0x55
    segment.path.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        _ask(ledger, "SELECT * FROM events")
    assert caught.value.next_step == "ledger verify"
