"""A ledger in a notebook: the same answers as the command line's, in the form that a program wants."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import run_evidence.ledger
from run_evidence.ledger import Ledger, NotALedgerError, Reader, UsageError
from run_evidence.ledger.model.outcomes import Outcome, outcome_parts
from run_evidence.ledger.model.plan import PlanItem
from run_evidence.ledger.sealing.compact import compact
from tests.ledger.samples import NOON, Clock, own, record, records
from tests.paths import paths
from tests.trust.ledgers import VKEY, signed_ledger

WORDS = {"run-a": "materialized", "run-b": "failed", "run-c": "skipped"}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three closed runs, each of one asset, and one that is open."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    for number, (run_id, word) in enumerate(WORDS.items()):
        at = NOON + number * 3_600_000_000
        code = None if word == "materialized" else f"because_{word}"
        item = PlanItem("orders", "2026-04-17", step_key="orders")
        outcome = Outcome(item=item, outcome=word, reason_code=code, reason=None, basis=(), attempts=1)
        made.append(
            [
                record(1, run_id, event_type="run.started.v1", occurred_at=at, release_id=f"release-{number}"),
                record(2, run_id, event_type="run.succeeded.v1", occurred_at=at + 1_000_000),
                *(own("outcomes.derived.v1", run_id, data=part) for part in outcome_parts([outcome], 1)),
                own("run.closed.v1", run_id, data={"revision": 1}),
            ]
        )
    made.seal()
    made.append([record(1, "run-d", event_type="run.started.v1", occurred_at=NOON + 9 * 3_600_000_000)])
    return made


@pytest.fixture
def reader(ledger: Ledger) -> Reader:
    return run_evidence.ledger.open(ledger.root)


def test_an_answer_is_arrow_pandas_polars_or_plain_rows(reader: Reader) -> None:
    import pandas as pd
    import polars as pl

    found = reader.query("SELECT run_id, verdict FROM runs WHERE run_id <> $run ORDER BY run_id", {"run": "run-d"})
    plain = [{"run_id": "run-a", "verdict": "passed"}, {"run_id": "run-b", "verdict": "failed"}]
    plain.append({"run_id": "run-c", "verdict": "skipped"})
    assert isinstance(found.arrow, pa.Table)
    assert found.rows() == list(found) == plain
    assert len(found) == 3
    assert isinstance(found.df(), pd.DataFrame)
    assert found.df().to_dict("records") == plain
    assert isinstance(found.pl(), pl.DataFrame)
    assert found.pl().to_dicts() == plain
    assert pa.table(found).to_pylist() == plain  # any library that reads Arrow streams
    assert repr(found).splitlines()[:2] == ["run_id  verdict", "run-a   passed"]
    assert "… 101 rows in all" in repr(reader.query("FROM range(101)"))


def test_parameters_keep_their_type(reader: Reader) -> None:
    asked = "SELECT $number + 1 AS n, $moment AS moment, $many[2] AS second, $nothing IS NULL AS absent"
    moment = datetime(2026, 4, 17, tzinfo=UTC)
    (row,) = reader.query(asked, {"number": 41, "moment": moment, "many": ["a", "b"], "nothing": None})
    assert (row["n"], row["moment"], row["second"], row["absent"]) == (42, moment, "b", True)


def test_runs_are_those_that_fit_newest_first(reader: Reader) -> None:
    def ids(**wanted: object) -> list[str]:
        return [row["run_id"] for row in reader.runs(**wanted)]  # type: ignore[arg-type]

    assert ids() == ["run-d", "run-c", "run-b", "run-a"]
    assert ids(verdict="failed") == ["run-b"]
    assert ids(verdict=["failed", "unknown"]) == ["run-d", "run-b"]
    assert ids(since=datetime.fromtimestamp(NOON / 1e6 + 7_000, tz=UTC)) == ["run-d", "run-c"]
    assert ids(release="release-0") == ["run-a"]
    assert ids(job="another") == []


def test_a_run_comes_with_what_became_of_its_items(reader: Reader) -> None:
    run = reader.run("run-b")
    assert (run["verdict"], run["reason_code"], run["closed"]) == ("failed", "because_failed", True)
    assert [(item["asset_key"], item["weight"]) for item in run["outcomes"]] == [("orders", "failed")]
    assert reader.run("latest")["run_id"] == "run-d"
    with pytest.raises(UsageError, match="There is no run 'x'"):
        reader.run("x")
    with pytest.raises(UsageError, match="start of 4 run ids"):
        reader.run("run-")


def test_a_report_is_that_of_the_command(reader: Reader) -> None:
    report = reader.report("run-b")
    assert report["run"]["run_id"] == "run-b"
    assert report["verdict"]["verdict"] == "failed"
    assert report["kind"] == "final"


@pytest.mark.parametrize("kind", ["size", "text", "moment", "checkpoint"])
def test_the_past_is_named_as_on_the_command_line(ledger: Ledger, reader: Reader, kind: str) -> None:
    size = ledger.log().size
    moment = max(row["recorded_at"] for row in reader.query("SELECT recorded_at FROM events WHERE index < 4"))
    named = {
        "size": 4,
        "text": "4",
        "moment": moment,
        "checkpoint": str(paths(ledger).checkpoint(size)),
    }[kind]
    expected = size if kind == "checkpoint" else 4
    assert reader.query("SELECT count(*) AS n FROM entries", as_of=named).rows() == [{"n": expected}]


def test_nothing_can_be_written(reader: Reader, tmp_path: Path) -> None:
    for sql in ("CREATE TABLE x AS SELECT 1", f"COPY (SELECT 1) TO '{tmp_path}/x'", "DELETE FROM unsealed_entries"):
        with pytest.raises(UsageError):
            reader.query(sql)
    with pytest.raises(UsageError, match="verdict"):  # the nearest right name
        reader.query("SELECT verdikt FROM runs")


def test_what_was_verified_is_what_the_key_signed(tmp_path: Path) -> None:
    reader = run_evidence.ledger.open(signed_ledger(tmp_path / "signed", [3, 5]).root)
    assert reader.verify().ok
    assert reader.verify(key=VKEY).ok
    with pytest.raises(UsageError):
        reader.verify(key="no key")
    ledger = Ledger(tmp_path / "signed")
    ledger.append(records(range(90, 92)))
    ledger.seal()
    assert not reader.verify(key=VKEY).ok


def test_the_newest_state_is_read_each_time(ledger: Ledger, reader: Reader) -> None:
    before = reader.query("FROM entries")
    ledger.append([record(77, "run-d")])
    ledger.seal()
    compact(ledger.store, ledger.require())
    assert len(reader.query("FROM entries")) == len(before) + 1


def test_a_ledger_is_opened_by_its_url(ledger: Ledger, reader: Reader) -> None:
    """As `Path.as_uri` writes it."""
    by_url = run_evidence.ledger.open(ledger.root.as_uri())
    assert by_url.query("FROM entries").rows() == reader.query("FROM entries").rows()


def test_what_is_no_ledger_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotALedgerError, match="There is no ledger"):
        run_evidence.ledger.open(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot open"):
        run_evidence.ledger.open("s3://bucket/ledger")


def test_a_notebook_needs_neither_dagster_nor_a_frame_library(ledger: Ledger) -> None:
    """They are asked for by name when they are missed."""
    code = (
        "import sys\n"
        "for name in ('dagster', 'pandas', 'polars', 'numpy'): sys.modules[name] = None\n"
        "import run_evidence.ledger as ledger\n"
        "rows = ledger.open(sys.argv[1]).runs()\n"
        "print(len(rows), ledger.open(sys.argv[1]).report('run-a')['kind'])\n"
        "for form in (rows.pl, rows.df):\n"
        "    try: form()\n"
        "    except ledger.UsageError as error: print(error, error.next_step)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, ledger.root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "4 final",
        "polars is not installed. pip install polars",
        "pandas is not installed. pip install pandas",
    ]
