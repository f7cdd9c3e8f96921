"""What is asked again and again is held in memory, and answers as what it was made of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from run_evidence.ledger import IntegrityError, Ledger, Reader
from run_evidence.ledger.query.snapshot import VIEWS
from tests.evidence.evidence_runs import Story, planned
from tests.ledger.samples import NOON, Clock, own
from tests.paths import paths

KEYS = ("shop/orders", "shop/customers")


def story(number: int) -> Story:
    """Return a run of two assets; every second one fails at the second."""
    told = Story(f"run-{number}", start=NOON + number * 60_000_000)
    told.plan([planned(key, None) for key in KEYS], {})
    told.made(KEYS[0], None, row_count=number)
    if number % 2:
        return told.failed(KEYS[1], "the warehouse was not there").end("failed").close()
    return told.made(KEYS[1], None, row_count=number).end().close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make a ledger of four runs and a large payload, of which the last run is not sealed."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    for number in range(3):
        made.append(story(number).events)
    made.append([own("policy.declared.v1", "", occurred_at=NOON, data={"optional": ["x" * 100_000]})])
    made.seal()
    made.append(story(3).events)
    return made


def answer(reader: Reader, view: str) -> tuple[pa.Schema, list[str]]:
    rows = reader.query(f"SELECT * FROM {view}")
    return rows.arrow.schema, sorted(map(repr, rows))


def held(reader: Reader) -> set[str]:
    """Return the tables that are held."""
    snapshot = reader._kept._open
    assert snapshot is not None
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'held'"
    return {name for (name,) in snapshot[1].connection.execute(sql).fetchall()}


@pytest.mark.soak
@pytest.mark.parametrize("view", VIEWS)
def test_every_answer_is_that_of_the_first_time(ledger: Ledger, view: str) -> None:
    """Of each view the rows, and the columns with their types."""
    reader = Reader(ledger)
    first = answer(reader, view)
    for _ in range(4):
        assert answer(reader, view) == first
    assert "entries" in held(reader)
    assert held(reader) == {"entries", *({view} & {"outcomes", "runs", "assets"})}


def test_what_is_held_is_given_up_when_the_ledger_grows(ledger: Ledger) -> None:
    reader = Reader(ledger)
    for _ in range(5):
        assert len(reader.query("SELECT * FROM runs")) == 4
    assert held(reader) == {"entries", "runs"}
    ledger.append(story(4).events)
    assert len(reader.query("SELECT * FROM runs")) == 5
    assert held(reader) == set()


def test_what_is_held_hides_no_segment_or_payload_that_went(ledger: Ledger) -> None:
    """It is a finding as before, and none any more when the file is back."""
    reader = Reader(ledger)
    sql = "SELECT run_id, verdict, events FROM runs ORDER BY run_id"
    before = [reader.query(sql).rows() for _ in range(4)][-1]
    (segment,) = paths(ledger).log.glob("*.parquet")
    aside = segment.rename(segment.with_suffix(".aside"))
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"gone|cannot be read"):
            reader.query(sql)
    aside.rename(segment)
    assert reader.query(sql).rows() == before
    payloads = "SELECT count(*) AS missing FROM events WHERE payload IS NOT NULL"
    (payload,) = (ledger.root / "blobs").iterdir()
    assert [reader.query(payloads).rows() for _ in range(4)][-1] == [{"missing": 0}]
    good = payload.read_bytes()
    payload.write_bytes(good[:-1] + b" ")
    assert reader.query(payloads).rows() == [{"missing": 1}]
    payload.write_bytes(good)
    assert reader.query(payloads).rows() == [{"missing": 0}]


def test_a_view_that_cannot_be_held_is_answered_all_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is no room: nothing of it stays, and it is not tried again."""
    monkeypatch.setattr("run_evidence.ledger.query.held.sql_text", lambda _: "SELECT * FROM nowhere")
    reader = Reader(ledger)
    for _ in range(5):
        assert len(reader.query("SELECT * FROM failures")) > 0
    assert held(reader) == set()


def test_what_is_held_is_asked_about_some_runs_alone_too(ledger: Ledger) -> None:
    """As the views `runs` and `outcomes` are that a snapshot calculates."""
    reader = Reader(ledger)
    for _ in range(4):
        reader.query("SELECT * FROM runs JOIN outcomes USING (run_id)")
    assert held(reader) >= {"runs", "outcomes"}
    kept = reader._kept._open
    assert kept is not None
    for view in ("runs", "outcomes"):
        rows = kept[1].rows(f"SELECT DISTINCT run_id FROM {view} ORDER BY ALL", runs=["run-1", "run-2"])
        assert rows == [("run-1",), ("run-2",)]
