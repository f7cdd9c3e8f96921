"""A snapshot shows one prefix of the ledger through views that are what their SQL files say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from run_evidence.ledger import Event, IntegrityError, Ledger, UsageError
from run_evidence.ledger.model.event import MAX_DATA_BYTES
from run_evidence.ledger.model.outcomes import VERDICT_OF, Outcome, RunEvent, derive_outcomes, outcome_parts
from run_evidence.ledger.model.plan import Plan, PlanItem, plan_parts
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.model.stated import ASSET_STATUS, stated_status
from run_evidence.ledger.query.as_of import AsOf, parse_as_of
from run_evidence.ledger.query.snapshot import VIEWS, Snapshot, open_snapshot, views_in
from run_evidence.ledger.query.sql_query import view_docs
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.inbox import names
from tests.ledger.samples import NOON, RUN, Clock, own, record, records

ASSET, CHECK = "week06/silver/ticket_fact_partitioned", "row_count_output_count"
LAKEHOUSE = "week06/external/lakehouse_state"
DAY = "2026-04-17"


@pytest.mark.parametrize(
    ("view", "event_type"),
    [
        ("materializations", "asset.materialized.v1"),
        ("observations", "asset.observed.v1"),
        ("checks", "check.evaluated.v1"),
    ],
)
def test_a_label_recorded_twice_stops_no_view(tmp_path: Path, view: str, event_type: str) -> None:
    """A ledger may hold labels that became equal before they were written: the last one holds, no row is lost."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    twice = [{"label": "a", "value": "1"}, {"label": "b", "value": "2"}, {"label": "a", "value": "3"}]
    ledger.append([record(n, event_type=event_type, data={"metadata": m}) for n, m in enumerate([twice, [], [{}]])])
    with open_snapshot(ledger, views=(view,)) as snapshot:
        rows = snapshot.rows(f"SELECT metadata FROM {view} ORDER BY occurred_at")
    assert [row[0] for row in rows] == [{"a": "3", "b": "2"}, {}, {}]


def _at(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, tz=UTC)


def _records(run_id: str) -> list[Event]:
    """Return the records of a run that made one asset, warned in one check and failed in another step."""
    common: dict[str, Any] = {"step_key": "make", "trace_id": "t", "release_id": "r", "batch_id": "b"}
    about = {**common, "asset_key": ASSET, "partition": DAY}
    metadata = [{"label": "row_count", "value": "17"}, {"label": "note", "value": "a|b"}]
    error = {
        "class": "DagsterExecutionStepExecutionError",
        "message": "op",
        "cause": {"class": "OSError", "message": "no"},
    }
    return [
        record(1, run_id, event_type="run.started.v1", step_key=None),
        record(2, run_id, event_type="asset.materialization_planned.v1", asset_key=ASSET, partition=DAY),
        record(3, run_id, event_type="step.started.v1", **common),
        record(
            4,
            run_id,
            event_type="asset.materialized.v1",
            attempt=1,
            data={"metadata": metadata, "data_version": "dv", "code_version": "cv"},
            **about,
        ),
        record(
            5, run_id, event_type="asset.observed.v1", data={"metadata": metadata, "data_version": "dv"}, **about
        ),
        record(
            6,
            run_id,
            event_type="check.evaluated.v1",
            check_name=CHECK,
            outcome="warned",
            reason_code="check_warned",
            data={"severity": "WARN", "blocking": False, "description": "17 of 20", "metadata": metadata},
            **about,
        ),
        record(7, run_id, event_type="step.succeeded.v1", **common),
        record(8, run_id, event_type="step.started.v1", step_key="break"),
        record(
            9,
            run_id,
            event_type="step.failed.v1",
            step_key="break",
            attempt=1,
            outcome="failed",
            reason_code="step_failed",
            data={"error": error, "message": "it broke"},
        ),
        record(10, run_id, event_type="run.failed.v1", step_key=None, outcome="failed", reason_code="run_failed"),
    ]


PLAN = Plan(
    (
        PlanItem(ASSET, DAY, step_key="make"),
        PlanItem(ASSET, DAY, CHECK, "make", "check"),
        PlanItem("week06/ops/broken", step_key="break"),
        PlanItem(LAKEHOUSE, kind="dependency", required=False, reason_code="week04_lakehouse_not_available"),
    ),
    {"break": ("make",)},
)


def _own(run_id: str, revision: int = 1, taken: list[Event] | None = None) -> list[Event]:
    """Return what the ledger itself says about that run when it closes it."""
    plan = list(plan_parts(PLAN))
    told = [RunEvent(event_id="p", event_type="plan.committed.v1", occurred_at=NOON, data=part) for part in plan]
    taken = _records(run_id) if taken is None else taken
    outcomes = derive_outcomes([*told, *map(RunEvent.of_record, taken)])
    skip = own(
        "asset.skipped.v1",
        run_id,
        step_key="look",
        asset_key=LAKEHOUSE,
        outcome="not_available",
        reason_code="week04_lakehouse_not_available",
        data={"text": "no report"},
    )
    return [
        own("run.seen.v1", run_id, data={"tags": {"dagster/partition": DAY}}),
        *(own("plan.committed.v1", run_id, data=part) for part in plan),
        skip,
        *(
            own("outcomes.derived.v1", run_id, NOON + revision, data=part)
            for part in outcome_parts(outcomes, revision)
        ),
        own("run.closed.v1", run_id, NOON + revision, data={"revision": revision}),
    ]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One closed run, its records sealed and what the ledger says about it not; to be read, and copied."""
    made = Ledger(tmp_path_factory.mktemp("closed") / "ledger", clock=Clock())
    made.append(_records(RUN))
    made.seal()
    made.append(_own(RUN))
    return made


@pytest.fixture
def ledger(closed: Ledger, tmp_path: Path) -> Ledger:
    """Give a ledger like it, to be changed."""
    shutil.copytree(closed.root, tmp_path / "ledger", copy_function=shutil.copyfile)
    assert isinstance(closed.clock, Clock)
    return Ledger(tmp_path / "ledger", clock=Clock(closed.clock.now))


@pytest.fixture(scope="module")
def shown(closed: Ledger) -> dict[str, list[str]]:
    """Return what each view shows of it where all are there."""
    with open_snapshot(closed) as snapshot:
        return {view: _plain(_view(snapshot, view)) for view in VIEWS}


def _view(snapshot: Snapshot, view: str) -> list[dict[str, Any]]:
    cursor = snapshot.connection.execute(f"SELECT * FROM {view}")
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_every_view_has_exactly_the_columns_it_documents(ledger: Ledger, tmp_path: Path, filled: bool) -> None:
    """Names and order, also where there is nothing in it yet; and every view says its grain."""
    if not filled:
        ledger = Ledger(tmp_path / "empty")
        ledger.create()
    with open_snapshot(ledger) as snapshot:
        for doc in view_docs():
            described = snapshot.rows(f"DESCRIBE {doc.name}")
            assert [column for column, _ in doc.columns] == [row[0] for row in described], doc.name
            assert doc.meaning
            assert doc.grain.startswith("one row for each")
            assert all(meaning for _, meaning in doc.columns)
            if not filled:
                assert snapshot.rows(f"SELECT * FROM {doc.name}") == []
    assert [doc.name for doc in view_docs()] == list(VIEWS)


@pytest.mark.soak
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_alone_brings_what_it_builds_on(closed: Ledger, shown: dict[str, list[str]], view: str) -> None:
    """A query binds the views it names and no others, and answers as if all were there."""
    with open_snapshot(closed, views=sorted(views_in(f"SELECT * FROM {view.upper()}"))) as snapshot:
        assert _plain(_view(snapshot, view)) == shown[view]


def test_a_query_that_may_reach_any_view_gets_all_of_them() -> None:
    """The catalog, and SQL that is put together inside SQL."""
    for sql in ("SHOW TABLES", "SELECT * FROM duckdb_views()", "FROM query('SELECT ' || '1')", "FROM pg_tables"):
        assert views_in(sql) == set(VIEWS)
    assert views_in("SELECT '\n--', * FROM runs") == {"runs"}
    assert views_in("SELECT 1") == set()


def test_the_events_view_has_every_derived_column() -> None:
    """Nothing that is derived from an entry is kept from SQL."""
    (doc,) = (doc for doc in view_docs() if doc.name == "events")
    assert [column for column, _ in doc.columns] == ["index", *COLUMNS, "payload"]


def test_events_are_what_was_recorded(ledger: Ledger) -> None:
    """Sealed ones with their index, unsealed ones without, each once."""
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert (snapshot.sealed, snapshot.unsealed, snapshot.damaged) == (10, len(_own(RUN)), ())
        rows = _view(snapshot, "events")
    assert sorted(row["index"] for row in rows if row["index"] is not None) == list(range(10))
    by_type = {row["event_type"]: row for row in rows}
    made = by_type["asset.materialized.v1"]
    expected = _records(RUN)[3]
    for name in (
        "store_id",
        "run_id",
        "storage_id",
        "asset_key",
        "partition",
        "attempt",
        "trace_id",
        "source_digest",
    ):
        assert made[name] == getattr(expected, name)
    assert made["occurred_at"] == _at(expected.occurred_at)
    assert json.loads(made["data"]) == expected.data
    assert by_type["run.closed.v1"]["index"] is None


def test_entries_are_the_bytes_that_were_hashed(ledger: Ledger) -> None:
    """With the leaf hash of RFC 6962, computed by the database itself."""
    from run_evidence.ledger.tlog.merkle import leaf_hash

    with open_snapshot(ledger, views=("entries",)) as snapshot:
        rows = snapshot.rows("SELECT entry, leaf_hash FROM entries")
    assert len(rows) == 10 + len(_own(RUN))
    assert all(leaf_hash(entry).hex() == digest for entry, digest in rows)


def test_a_run_is_told_in_one_row(ledger: Ledger) -> None:
    """Its status from Dagster's records, its numbers from its outcomes."""
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        (run,) = _view(snapshot, "runs")
    assert run == {
        **run,
        "run_id": RUN,
        "job_name": "week06_data_factory",
        "status": "failed",
        "closed": True,
        "partition": DAY,
        "started_at": _at(NOON + 1_000),
        "ended_at": _at(NOON + 10_000),
        "planned": 4,
        "passed": 1,
        "not_passed": 3,
        "events": 10 + len(_own(RUN)),
        "late_events": 0,
        "first_index": 0,
        "last_index": 9,
        "trace_id": "t",
        "release_id": "r",
        "batch_id": "b",
        "store_id": "store-1",
    }


def test_outcomes_are_told_with_their_reasons(ledger: Ledger) -> None:
    """One row for each planned item, negative evidence included."""
    with open_snapshot(ledger, views=("outcomes",)) as snapshot:
        rows = _view(snapshot, "outcomes")
    assert {
        (row["asset_key"], row["check_name"]): (row["outcome"], row["verdict"], row["reason_code"]) for row in rows
    } == {
        (ASSET, None): ("materialized", "passed", None),
        (ASSET, CHECK): ("check_warned", "warned", "check_warned"),
        ("week06/ops/broken", None): ("failed", "failed", "step_failed"),
        (LAKEHOUSE, None): ("not_available", "not_available", "week04_lakehouse_not_available"),
    }
    assert {row["required"] for row in rows if row["asset_key"] == LAKEHOUSE} == {False}
    assert all(row["basis"] for row in rows if row["asset_key"] != LAKEHOUSE)


def test_what_was_produced_looked_at_checked_skipped_and_failed(ledger: Ledger) -> None:
    """Each view has its own events and no others, with what they carry laid out."""
    with open_snapshot(
        ledger, views=("materializations", "observations", "checks", "skips", "failures")
    ) as snapshot:
        (made,) = _view(snapshot, "materializations")
        (seen,) = _view(snapshot, "observations")
        (checked,) = _view(snapshot, "checks")
        (skipped,) = _view(snapshot, "skips")
        failed = {row["event_type"]: row for row in _view(snapshot, "failures")}
    assert (made["asset_key"], made["partition"], made["attempt"]) == (ASSET, DAY, 1)
    assert (made["data_version"], made["code_version"], made["metadata"]["row_count"]) == ("dv", "cv", "17")
    assert (seen["asset_key"], seen["data_version"], seen["metadata"]["note"]) == (ASSET, "dv", "a|b")
    assert (checked["check_name"], checked["outcome"], checked["severity"]) == (CHECK, "warned", "WARN")
    assert (checked["blocking"], checked["description"]) == (False, "17 of 20")
    assert (skipped["asset_key"], skipped["outcome"], skipped["declared"]) == (LAKEHOUSE, "not_available", True)
    assert skipped["reason"] == "no report"
    assert set(failed) == {"step.failed.v1", "run.failed.v1"}
    assert (failed["step.failed.v1"]["error_class"], failed["step.failed.v1"]["message"]) == ("OSError", "no")


def test_a_step_took_what_its_attempts_took(tmp_path: Path) -> None:
    """Not the wait between them; the last attempt says how it ended; a step without an end is running."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    error = {"class": "OSError", "message": "gone"}
    told = [
        (0, "step.started.v1", "tried", 1, {}),
        (2, "step.retry_scheduled.v1", "tried", 1, {"error": error}),
        (60, "step.restarted.v1", "tried", 2, {}),
        (63, "step.succeeded.v1", "tried", 2, {}),
        (64, "step.started.v1", "broke", 1, {}),
        (65, "step.retry_scheduled.v1", "broke", 1, {"error": error}),
        (66, "step.restarted.v1", "broke", 2, {}),
        (67, "step.failed.v1", "broke", 2, {"error": {"class": "ValueError", "message": "no"}}),
        (68, "step.skipped.v1", "left", 1, {}),
        (69, "step.started.v1", "goes on", None, {}),
    ]
    ledger.append(
        record(n, event_type=kind, step_key=step, attempt=attempt, occurred_at=NOON + at * 1_000_000, data=data)
        for n, (at, kind, step, attempt, data) in enumerate(told)
    )
    with open_snapshot(ledger, views=("steps",)) as snapshot:
        steps = {row["step_key"]: row for row in _view(snapshot, "steps")}
    shown = {step: (row["status"], row["attempts"], row["duration_s"]) for step, row in steps.items()}
    assert shown == {
        "tried": ("succeeded", 2, 5.0),
        "broke": ("failed", 2, 2.0),
        "left": ("skipped", 0, None),
        "goes on": ("running", 1, None),
    }
    assert (steps["broke"]["error_class"], steps["broke"]["message"]) == ("ValueError", "no")
    assert steps["tried"]["error_class"] is None
    assert steps["goes on"]["ended_at"] is None


def test_the_history_of_a_check_counts_runs_that_never_evaluated_it(tmp_path: Path) -> None:
    """Passed, passed, not evaluated, failed, failed: failed since the fourth, last passed in the second."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    words = ["check_passed", "check_passed", "not_evaluated", "check_failed", "check_failed"]
    for n, word in enumerate(words):
        item = PlanItem(ASSET, DAY, CHECK, "make", "check")
        code = None if word == "check_passed" else word
        outcome = Outcome(
            item=item, outcome=word, reason_code=code, reason=None, basis=(), attempts=1, planned=True
        )
        at = NOON + n * 86_400_000_000
        ledger.append(
            [
                record(1, f"run-{n}", event_type="run.started.v1", occurred_at=at),
                record(2, f"run-{n}", event_type="run.succeeded.v1", occurred_at=at + 1_000_000),
                *(own("outcomes.derived.v1", f"run-{n}", data=part) for part in outcome_parts([outcome], 1)),
                own("run.closed.v1", f"run-{n}", data={"revision": 1}),
            ]
        )
    with open_snapshot(ledger, views=("check_history",)) as snapshot:
        (row,) = _view(snapshot, "check_history")
    ends = [_at(NOON + n * 86_400_000_000 + 1_000_000) for n in range(len(words))]
    assert (row["outcome"], row["run_id"], row["checked_at"]) == ("check_failed", "run-4", ends[4])
    assert (row["since"], row["in_a_row"], row["last_passed_at"], row["runs"]) == (ends[3], 2, ends[1], 5)
    assert row["results"] == ["failed", "failed", "not_evaluated", "passed", "passed"]


def test_the_latest_state_of_an_asset_is_that_of_the_last_run_that_planned_it(ledger: Ledger) -> None:
    """Made in the first run, not made in the second: both are rows."""
    later = [
        record(1, "later", event_type="run.started.v1", occurred_at=NOON + 90_000_000),
        record(2, "later", event_type="run.failed.v1", occurred_at=NOON + 91_000_000),
    ]
    ledger.append([*later, *_own("later", taken=later)])
    with open_snapshot(ledger, views=("assets",)) as snapshot:
        states = {row["asset_key"]: row for row in _view(snapshot, "assets")}
    asset = states[ASSET]
    assert (asset["partition"], asset["run_id"], asset["verdict"]) == (DAY, "later", "not_evaluated")
    assert (asset["last_materialized_run_id"], asset["materializations"]) == (RUN, 1)
    assert asset["last_materialized_at"] == _at(NOON + 4_000)
    assert (states[LAKEHOUSE]["materializations"], states[LAKEHOUSE]["last_materialized_at"]) == (0, None)


def test_a_run_that_late_records_reopened_is_not_closed_until_it_is_closed_again(ledger: Ledger) -> None:
    """Then the outcomes of the higher revision count, and only they."""
    ledger.append([own("run.reopened.v1", data={"revision": 1, "late_storage_ids": [11]})])
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        assert snapshot.rows("SELECT closed, late_events, planned FROM runs") == [(False, 1, 4)]
    ledger.append(_own(RUN, revision=2, taken=_records(RUN)[:3])[-2:])
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        assert snapshot.rows("SELECT closed, late_events, planned, passed FROM runs") == [(True, 1, 4, 0)]


@pytest.mark.parametrize("sealed", [False, True])
def test_two_captures_that_close_a_run_at_once_count_its_items_once(ledger: Ledger, sealed: bool) -> None:
    """One read one record less: of each item one derivation counts, the one that came last."""
    ledger.append(_own(RUN, taken=_records(RUN)[:3])[-2:])
    if sealed:
        ledger.seal()
    with open_snapshot(ledger, views=("outcomes", "runs")) as snapshot:
        assert snapshot.rows("SELECT planned, passed FROM runs") == [(4, 0)]
        assert snapshot.rows("SELECT count(*) FROM outcomes") == [(4,)]


@pytest.fixture(scope="module")
def sealed(closed: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Give a ledger like `closed`, all of it sealed."""
    folder = tmp_path_factory.mktemp("sealed") / "ledger"
    shutil.copytree(closed.root, folder, copy_function=shutil.copyfile)
    made = Ledger(folder)
    made.seal()
    return made


@pytest.mark.soak
@pytest.mark.parametrize("view", [view for view in VIEWS if view not in {"entries"}])
def test_sealing_changes_nothing_but_indexes(sealed: Ledger, shown: dict[str, list[str]], view: str) -> None:
    """Every view answers the same before and after, the places in the log aside."""
    with open_snapshot(sealed, views=(view,)) as snapshot:
        assert _plain(_view(snapshot, view)) == shown[view]


def _plain(rows: list[dict[str, Any]]) -> list[str]:
    places = {"index", "first_index", "last_index"}
    return sorted(repr({name: value for name, value in row.items() if name not in places}) for row in rows)


def test_a_prefix_by_size_has_the_first_entries_and_nothing_unsealed(ledger: Ledger) -> None:
    """An entry without an index is in no prefix; a size beyond the log is refused."""
    for size in range(11):
        with open_snapshot(ledger, AsOf(size=size), ("events",)) as snapshot:
            assert snapshot.rows("SELECT count(*), max(storage_id) FROM events") == [(size, size or None)]
            assert (snapshot.sealed, snapshot.unsealed) == (size, 0)
    with pytest.raises(UsageError, match="the log has 10 sealed entries"), open_snapshot(ledger, AsOf(size=11)):
        pass


def test_a_prefix_by_time_has_what_was_recorded_by_then(tmp_path: Path) -> None:
    """To the microsecond, sealed or not; when something happened does not matter."""
    clock = Clock()
    ledger = Ledger(tmp_path / "ledger", clock=clock)
    for number, moment in enumerate((10, 20, 30)):
        clock.now = NOON + moment - 1
        ledger.append([record(number, occurred_at=NOON - number)])
        if number == 0:
            ledger.seal()
    for text, expected in (
        ("2026-04-17T12:00:00.000009Z", 0),
        ("2026-04-17T12:00:00.000010Z", 1),
        ("2026-04-17T12:00:00.000029Z", 2),
        ("2026-04-17T14:00:00.000030+02:00", 3),
        ("2027-01-01", 3),
    ):
        with open_snapshot(ledger, parse_as_of(text), ("events",)) as snapshot:
            assert snapshot.rows("SELECT count(*) FROM events") == [(expected,)], text


def test_what_is_in_inbox_and_log_at_once_is_shown_once(ledger: Ledger) -> None:
    """A seal that died before it emptied the inbox; a record captured twice; a rival that is not yet an alarm."""
    ledger.seal()
    total = 10 + len(_own(RUN))
    ledger.append([*_records(RUN), *_own(RUN)])
    ledger.append([record(4, source_digest="f" * 64), record(5, occurred_at=NOON + 10**9)])
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT count(*), count(index) FROM events") == [(total, total)]
        assert snapshot.unsealed == 0


def _seal_after_the_first(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    """Let a rival seal between the two reads, whichever of inbox and log is read first."""
    looks: list[str] = []

    def then_seal(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*arguments: Any) -> Any:
            found = look(*arguments)
            looks.append("look")
            if len(looks) == 1:
                monkeypatch.undo()
                ledger.seal()
            return found

        return looked

    monkeypatch.setattr("run_evidence.ledger.storage.inbox.names", then_seal(inbox.names))
    monkeypatch.setattr(Ledger, "log", then_seal(Ledger.log))


def test_what_a_rival_seals_between_two_looks_is_shown_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox is read before the log: what vanishes from one is in the other."""
    _seal_after_the_first(monkeypatch, ledger)
    total = 10 + len(_own(RUN))
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT count(*), count(DISTINCT event_id) FROM events") == [(total, total)]


def test_what_a_rival_seals_between_two_looks_is_known(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a capture would append again what is there."""
    before = ledger.known([RUN])
    _seal_after_the_first(monkeypatch, ledger)
    assert ledger.known([RUN]) == before


def test_a_log_that_lost_entries_is_not_asked(ledger: Ledger) -> None:
    """A checkpoint says how far it reached; an answer from less would be wrong without a sign of it."""
    ledger.seal()
    sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[-1].unlink()
    with pytest.raises(IntegrityError, match="entries were removed") as caught, open_snapshot(ledger):
        pass
    assert caught.value.next_step


def test_damaged_objects_are_named_and_the_rest_is_shown(ledger: Ledger) -> None:
    """A query still answers, and says what it could not read."""
    ledger.append([record(50)])
    name = names(ledger.store)[0]
    (ledger.root / "inbox" / name).write_bytes(b"{}\n")
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT count(*) FROM events") == [(11,)]
        (problem,) = snapshot.damaged
    assert name in problem


@pytest.mark.parametrize(
    "name", ["with space", "it's", 'quo"te', "br[ack]et", "st*r?", "日本語", "semi;colon", "$x {y}"]
)
def test_a_ledger_may_have_any_path(tmp_path: Path, name: str) -> None:
    """Paths reach SQL as they are: no quote ends one, no bracket is a pattern."""
    for decoy in ("brackeet", "star"):
        (tmp_path / decoy).mkdir()
    ledger = Ledger(tmp_path / name / "ledger", clock=Clock())
    ledger.append(records(range(3)))
    ledger.seal()
    ledger.append([record(1), record(3)])
    with open_snapshot(ledger, views=("events",)) as snapshot:
        assert snapshot.rows("SELECT count(*) FROM events") == [(4,)]
    assert ledger.seal().size == 4


def test_a_payload_beside_the_log_is_listed(ledger: Ledger) -> None:
    """With its digest and size; its text is not in the entry."""
    ledger.append([own("note.taken.v1", data={"text": "x" * MAX_DATA_BYTES})])
    with open_snapshot(ledger, views=("payloads",)) as snapshot:
        (row,) = _view(snapshot, "payloads")
    (blob,) = (ledger.root / "blobs").iterdir()
    assert (row["sha256"], row["size_bytes"], row["erased"]) == (blob.name, blob.stat().st_size, False)


def test_a_snapshot_is_a_prefix_that_does_not_move(ledger: Ledger) -> None:
    """What is appended and sealed after it was opened is not in it."""
    with open_snapshot(ledger, views=("events",)) as snapshot:
        before = snapshot.rows("SELECT count(*) FROM events")
        ledger.append(records(range(100, 110)))
        ledger.seal()
        assert snapshot.rows("SELECT count(*) FROM events") == before


def _assets(ledger: Ledger) -> dict[str | None, dict[str, Any]]:
    with open_snapshot(ledger, views=("assets",)) as snapshot:
        return {row["partition"]: row for row in _view(snapshot, "assets") if row["asset_key"] == ASSET}


def _outside(storage_id: int, event_type: str, seconds: int, **more: Any) -> Event:
    about = {"run_id": "", "step_key": None, "job_name": None, "asset_key": ASSET, **more}
    return record(storage_id, event_type=event_type, occurred_at=NOON + seconds * 1_000_000, **about)


def test_an_asset_that_was_wiped_is_wiped_until_it_is_produced_again(ledger: Ledger) -> None:
    """What was there and was deleted is not available; what it had been stays told."""
    ledger.append([_outside(1, "asset.wiped.v1", -60)])
    assert (_assets(ledger)[DAY]["outcome"], _assets(ledger)[DAY]["wiped_at"]) == (
        "materialized",
        _at(NOON - 60_000_000),
    )
    ledger.append([_outside(2, "asset.wiped.v1", 60)])
    wiped = _assets(ledger)[DAY]
    assert (wiped["outcome"], wiped["verdict"], wiped["reason_code"]) == ("wiped", "not_available", "asset_wiped")
    assert (wiped["state_since"], wiped["materializations"]) == (_at(NOON + 60_000_000), 1)
    again = [
        replace(event, occurred_at=event.occurred_at + 120_000_000, run_id="again") for event in _records("again")
    ]
    ledger.append([*again, *_own("again", taken=again)])
    made = _assets(ledger)[DAY]
    assert (made["outcome"], made["verdict"], made["run_id"]) == ("materialized", "passed", "again")


def test_a_wipe_of_partitions_wipes_these(ledger: Ledger) -> None:
    """Other partitions keep their state."""
    ledger.append([_outside(1, "asset.wiped.v1", 60, data={"partition_keys": ["2026-04-16"]})])
    assert _assets(ledger)[DAY]["verdict"] == "passed"
    ledger.append([_outside(2, "asset.wiped.v1", 61, data={"partition_keys": ["2026-04-16", DAY]})])
    assert _assets(ledger)[DAY]["outcome"] == "wiped"


def test_what_was_reported_from_outside_is_a_state(ledger: Ledger) -> None:
    """A materialization outside any run is the latest state of its partition, by what it says of itself."""
    partitions = {f"2026-05-{n:02}": status for n, status in enumerate([None, "ok", *ASSET_STATUS], start=1)}

    def report(event_type: str, seconds: int, **more: Any) -> None:
        ledger.append(
            [
                _outside(seconds * 100 + n, event_type, seconds, partition=partition, data=_about(status, **more))
                for n, (partition, status) in enumerate(partitions.items())
            ]
        )

    def _about(status: str | None, *, says: bool = False) -> dict[str, Any]:
        return (
            {"metadata": [{"label": "status", "type": "text", "value": status}] if status else []} if says else {}
        )

    report("asset.materialized.v1", 60, says=True)
    states = _assets(ledger)
    for partition, status in partitions.items():
        state = states[partition]
        assert (state["outcome"], state["run_id"], state["materializations"]) == ("reported", None, 1), status
        expected = VERDICT_OF[ASSET_STATUS[status]] if status in ASSET_STATUS else "passed"
        assert state["verdict"] == expected, status
        assert (state["verdict"] == "passed") == (state["reason_code"] is None), status
    report("asset.materialized.v1", 61)
    states = _assets(ledger)
    assert {states[partition]["verdict"] for partition in partitions} == {"passed"}
    ledger.append([_outside(2, "asset.wiped.v1", 62)])
    states = _assets(ledger)
    assert {states[partition]["outcome"] for partition in partitions} == {"wiped"}


@pytest.mark.parametrize(
    ("partitions", "told"),
    [
        ((None,), None),
        ((None, "2026-03-04"), "2026-03-04"),
        (("2026-03-04", "2026-03-05"), "2026-03-04..2026-03-05 (2)"),
        (tuple(f"2026-03-{day:02}" for day in range(13, 3, -1)), "2026-03-04..2026-03-13 (10)"),
    ],
)
def test_a_run_of_many_partitions_is_told_by_its_range(
    tmp_path: Path, partitions: tuple[str | None, ...], told: str | None
) -> None:
    """The first, the last and how many; one partition stands as it is."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    plan = Plan(tuple(PlanItem(ASSET, partition, step_key="make") for partition in partitions), {})
    ledger.append([own("plan.committed.v1", data=payload) for payload in plan_parts(plan)])
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        assert snapshot.rows("SELECT partition FROM runs") == [(told,)]


ENDS = ("run.succeeded.v1", "run.failed.v1", "run.canceled.v1")


def test_of_several_ends_the_last_one_in_the_log_counts(tmp_path: Path) -> None:
    """A run that Dagster ended twice has the status and the end of the last record, as in Dagster."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    runs = {f"run-{n}": ends for n, ends in enumerate([*permutations(ENDS, 2), *permutations(ENDS, 3)])}
    for run_id, ends in runs.items():
        ledger.append([record(number, run_id, event_type=end) for number, end in enumerate(ends, start=1)])
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        rows = {row["run_id"]: row for row in _view(snapshot, "runs")}
    assert {run_id: (row["status"], row["ended_at"]) for run_id, row in rows.items()} == {
        run_id: (ends[-1].split(".")[1], _at(NOON + len(ends) * 1_000)) for run_id, ends in runs.items()
    }


def test_what_a_run_did_not_plan_is_counted_apart(tmp_path: Path) -> None:
    """A failed check that no plan names is among the items that did not pass."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.create()
    taken = [
        record(1, event_type="asset.materialized.v1", asset_key="a", step_key="a"),
        record(
            2,
            event_type="check.evaluated.v1",
            asset_key="a",
            check_name="c",
            outcome="failed",
            reason_code="check_failed",
        ),
        record(3, event_type="run.succeeded.v1"),
    ]
    plan = plan_parts(Plan((PlanItem("a", step_key="a"),), {}))
    planned = [RunEvent(event_id="", event_type="plan.committed.v1", occurred_at=NOON, data=part) for part in plan]
    outcomes = derive_outcomes([*planned, *map(RunEvent.of_record, taken)])
    derived = [own("outcomes.derived.v1", data=payload) for payload in outcome_parts(outcomes, 1)]
    ledger.append([*taken, *derived, own("run.closed.v1", data={"revision": 1})])
    with open_snapshot(ledger, views=("outcomes", "runs")) as snapshot:
        assert snapshot.rows("SELECT planned, unplanned, passed, not_passed FROM runs") == [(1, 1, 1, 1)]
        rows = snapshot.rows("SELECT check_name, planned, verdict FROM outcomes ORDER BY check_name NULLS FIRST")
    assert rows == [(None, True, "passed"), ("c", False, "failed")]


SAID_OF_ITSELF: tuple[tuple[str, str | bool | int | None], ...] = (
    *(("bool", False), ("bool", True), ("int", 0), ("float", "0.5"), ("float", "nan"), ("null", None)),
    *(
        ("markdown", "**Failed**"),
        ("path", "failed"),
        ("text", "not available"),
        ("text", "failed."),
        ("text", "None"),
    ),
    *(
        ("json", '"failed"'),
        ("json", "null"),
        ("json", "{}"),
        ("json", '{"orders": {"status": "failed"}, "x": null}'),
    ),
    *(
        ("json", '["ok", "warning", "skipped"]'),
        ("json", '{"failed": "no"}'),
        ("json", '[""]'),
        ("text", "[failed]"),
    ),
    *(("text", "{skipped"), ("text", '{"a": "failed"}'), ("text", "{None}")),
)


def test_a_view_reads_what_an_asset_says_of_itself_as_the_outcomes_do(ledger: Ledger) -> None:
    """The state that a report from outside has is the outcome that the same metadata gives in a run."""
    reports = {
        f"part-{n}": {"metadata": [{"label": "status", "type": kind, "value": value}]}
        for n, (kind, value) in enumerate(SAID_OF_ITSELF)
    }
    ledger.append(
        [
            _outside(n, "asset.materialized.v1", 60, partition=partition, data=data)
            for n, (partition, data) in enumerate(reports.items())
        ]
    )
    states = _assets(ledger)
    for partition, data in reports.items():
        word, state = stated_status(data), states[partition]
        assert state["verdict"] == VERDICT_OF[ASSET_STATUS.get(word or "", "materialized")], data
        assert state["reason_code"] == (None if state["verdict"] == "passed" else f"status_{word}"), data
