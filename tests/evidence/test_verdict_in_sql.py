"""The verdict in SQL is the verdict in documents: the same word, code and reason for every run there can be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from evidence_runs import START, Tell, dry_run, failed_run, fixed_ledger, good_run, open_run, warned_run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evidence_verdict import CHECKS, CODES, DEPENDENCIES, KEYS, STATUSES, WORDS, outcome_of

from run_evidence.evidence.facts import ALL_RUNS, read_rows, read_runs, read_verdicts
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.verdict import weigh
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.model.outcomes import NO_ASSET, Outcome, outcome_parts
from run_evidence.ledger.query.as_of import NOW
from run_evidence.ledger.query.snapshot import open_snapshot

_SPACES = " \t\n\x0b\x1c\x85\xa0\u1680\u2003\u2028\u3000"
_REASONS = st.none() | st.text(f"a.é😀{_SPACES}[]{{}}'\"", max_size=12) | st.integers(190, 230).map("ab ".__mul__)
_ANY_CODE = CODES | st.none()


def _with_words(outcome: Outcome, reason: str | None, code: str | None) -> Outcome:
    return replace(outcome, reason=reason or None, reason_code=code or outcome.reason_code)


_ASSETS = st.builds(
    outcome_of,
    WORDS,
    KEYS,
    required=st.booleans(),
    planned=st.booleans(),
    attempts=st.integers(0, 2),
    partition=st.sampled_from([None, "p1", "p2"]),
)
_OF_NO_ASSET = st.builds(outcome_of, WORDS, st.just(NO_ASSET), check=st.just("c"), planned=st.booleans())
_ANY = _ASSETS | CHECKS | DEPENDENCIES | _OF_NO_ASSET
_ITEMS = st.lists(st.builds(_with_words, _ANY, _REASONS, _ANY_CODE), max_size=8)
_CLOSINGS = st.sampled_from(["open", "closed", "reopened", "closed again"])
_RUNS = st.lists(st.tuples(_ITEMS, _ITEMS, st.sampled_from(STATUSES), _CLOSINGS), min_size=10, max_size=25)

_ENDS = {"succeeded": "run.succeeded.v1", "failed": "run.failed.v1", "canceled": "run.canceled.v1"}


def _events(
    number: int, items: Sequence[Outcome], later: Sequence[Outcome], status: str, closing: str
) -> list[Event]:
    """Return what the ledger has of a run with these items, and with others when it was closed again."""
    run_id = f"run-{number:04d}"
    at = START + number * 1_000_000

    def own(event_type: str, **data: object) -> Event:
        return Event(event_type=event_type, occurred_at=at, store_id="store-1", run_id=run_id, data=data)  # type: ignore[arg-type]

    def record(storage_id: int, event_type: str) -> Event:
        return Event(
            event_type=event_type,
            occurred_at=at + storage_id * 1_000,
            store_id="store-1",
            run_id=run_id,
            storage_id=storage_id,
            source_digest=f"{number:032x}{storage_id:032x}",
        )

    def closed(revision: int, outcomes: Sequence[Outcome]) -> list[Event]:
        parts = [own("outcomes.derived.v1", **part) for part in outcome_parts(outcomes, revision)]
        return [*parts, own("run.closed.v1", revision=revision, status=status)]

    found = [own("run.seen.v1", tags={}), own("plan.committed.v1", items=[], steps=[])]
    if status != "queued":
        found.append(record(1, "run.started.v1"))
    if status in _ENDS:
        found.append(record(2, _ENDS[status]))
    if closing != "open":
        found += closed(1, items)
    if closing in {"reopened", "closed again"}:
        found.append(own("run.reopened.v1", revision=1, late_storage_ids=[3]))
    if closing == "closed again":
        found += closed(2, later)
    return found


def _assert_the_same(ledger: Ledger) -> None:
    with open_prefix(ledger, NOW) as prefix:
        rows = read_rows(prefix, limit=ALL_RUNS)
        verdicts = read_verdicts(prefix, rows)
    expected = {run_id: (v.verdict, v.reason_code, v.reason) for run_id, v in verdicts.items()}
    counted = {run_id: v.denominators.planned for run_id, v in verdicts.items()}
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        found = snapshot.rows("SELECT run_id, verdict, reason_code, reason, closed, planned FROM runs")
    assert {run_id: (word, code, reason) for run_id, word, code, reason, _, _ in found} == expected
    assert {run_id: planned or 0 for run_id, *_, closed, planned in found if closed} == {
        run_id: counted[run_id] for run_id, *_, closed, _ in found if closed
    }


@settings(max_examples=6, deadline=None)  # of many runs each: what a ledger costs, its runs share
@given(_RUNS)
@pytest.mark.soak
def test_every_run_has_one_verdict_wherever_it_is_read(
    runs: Sequence[tuple[list[Outcome], list[Outcome], str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = fixed_ledger(Path(folder) / "ledger")
        for number, run in enumerate(runs):
            ledger.append(_events(number, *run))
        _assert_the_same(ledger)
        ledger.seal()
        _assert_the_same(ledger)


@settings(max_examples=4, deadline=None)
@given(st.lists(_ITEMS, min_size=5, max_size=12))
def test_every_item_weighs_the_same_in_sql(runs: list[list[Outcome]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = fixed_ledger(Path(folder) / "ledger")
        for number, items in enumerate(runs):
            ledger.append(_events(number, items, [], "succeeded", "closed"))
        with open_prefix(ledger, NOW) as prefix:
            read = {
                run.row.run_id: run.outcomes
                for run in read_runs(prefix, [f"run-{n:04d}" for n in range(len(runs))])
            }
        with open_snapshot(ledger, views=("outcomes",)) as snapshot:
            found = snapshot.rows(
                "SELECT run_id, asset_key, partition, check_name, weight FROM outcomes ORDER BY run_id, position"
            )
    assert len(read) == len(runs)
    assert found == [
        (run_id, o.item.asset_key, o.item.partition, o.item.check_name, word)
        for run_id, outcomes in sorted(read.items())
        for word, o in weigh(outcomes)
    ]


def test_runs_of_every_kind_agree_too(told: Tell) -> None:
    kinds = (good_run, failed_run, dry_run, warned_run, open_run)
    _assert_the_same(told(*(kind(kind.__name__) for kind in kinds)))


def test_a_run_of_the_policys_items_alone_planned_nothing(tmp_path: Path) -> None:
    """In SQL as in documents: whatever became of a dependency, and whether Dagster says succeeded or not."""
    ledger = fixed_ledger(tmp_path / "ledger")
    words = ("not_available", "materialized", "not_started")
    for number, word in enumerate(words):
        item = outcome_of(word, kind="dependency", required=False)
        ledger.append(_events(number, [item], [], "succeeded", "closed"))
    _assert_the_same(ledger)
    with open_snapshot(ledger, views=("runs",)) as snapshot:
        found = snapshot.rows("SELECT verdict, reason_code, planned FROM runs")
    assert found == [("unknown", "nothing_planned", 1)] * len(words)
