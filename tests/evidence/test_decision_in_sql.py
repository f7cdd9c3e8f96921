"""The decision in SQL is the decision in the hand-over document, for every partition of a generated history."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Call
from evidence_runs import DAY, START, Story, Tell, dry_run, failed_run, fixed_ledger, good_run, open_run, warned_run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_declared_profile import OTHER, SHOP, declare
from test_evidence_verdict import ASSETS, CHECKS

from pipelines.delivery import WEEK06
from run_evidence.evidence import DeliveryProfile, declared_profiles, write_run_documents
from run_evidence.evidence.delivery import NOT_SIGNED
from run_evidence.evidence.files import derive_run_documents
from run_evidence.ledger import NOW, Ledger, open_snapshot
from run_evidence.ledger.model.outcomes import Outcome, outcome_parts
from run_evidence.ledger.model.plan import PlanItem

HOUR = 3_600_000_000
PROFILE = DeliveryProfile(
    name="generated",
    title="Generated",
    contract="generated_v1",
    product="a",
    key_prefix="",
    proceed="go_on",
    dry_run_code="because_skipped",
    optional=("b",),
    partitions="p[0-9]",
)
_ITEMS = st.lists(ASSETS | CHECKS, min_size=1, max_size=6)
_RUNS = st.lists(
    st.tuples(_ITEMS, st.sampled_from(["succeeded", "failed"]), st.booleans()), min_size=1, max_size=12
)


def rows(ledger: Ledger, sql: str = "SELECT * FROM deliveries ORDER BY product, partition") -> list[dict[str, Any]]:
    """Read the view as a program does."""
    with open_snapshot(ledger, views=("deliveries",)) as snapshot:
        found = snapshot.connection.execute(sql)
        names = [name for name, *_ in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def story_of(number: int, outcomes: Sequence[Outcome], status: str, *, closed: bool) -> Story:
    """Return the events of a run that planned these items and had these outcomes."""
    of = {(o.item.asset_key, o.item.partition, o.item.check_name): o for o in outcomes}
    items: list[PlanItem] = [o.item for o in of.values() if o.planned]
    story = Story(f"run-{number}", start=START + number * HOUR).plan(items, {}).end(status)
    if closed:
        for part in outcome_parts(tuple(of.values()), 1):
            story._own("outcomes.derived.v1", part)
        story._own("run.closed.v1", {"revision": 1, "status": status})
    return story


def assert_the_same(ledger: Ledger, expected: int | None = None) -> None:
    """Hold each row against the document that is derived of its run and partition."""
    (history,) = declared_profiles(ledger).histories
    found = rows(ledger)
    assert expected is None or len(found) == expected
    for row in found:
        derived = derive_run_documents(ledger, row["run_id"], NOW, history)
        document: Mapping[str, Any] = orjson.loads(derived.evidence(row["partition"]))
        assert row["decision"] == document["downstream_decision"]
        assert [*row["reason_codes"], NOT_SIGNED] == document["reason_codes"]
        assert row["asset_key"] == document["asset_key"]
        assert row["closed"] == derived.facts.final


@pytest.mark.soak
@settings(max_examples=12, deadline=None)
@given(_RUNS)
def test_every_delivery_has_one_decision_wherever_it_is_read(runs: list[tuple[list[Outcome], str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = fixed_ledger(Path(folder) / "ledger")
        for number, (outcomes, status, closed) in enumerate(runs):
            ledger.append(story_of(number, outcomes, status, closed=closed).events)
        declare(ledger, PROFILE)
        planned = {
            o.item.partition
            for outcomes, _, _ in runs
            for o in story_items(outcomes)
            if o.planned and o.item.kind == "materialize" and o.item.partition
        }
        assert {row["partition"] for row in rows(ledger)} <= planned
        assert_the_same(ledger)


def story_items(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return what `story_of` tells: of one item the last outcome."""
    return list({(o.item.asset_key, o.item.partition, o.item.check_name): o for o in outcomes}.values())


def test_runs_of_every_kind_agree_too(told: Tell) -> None:
    kinds = (good_run, failed_run, dry_run, warned_run, open_run)
    ledger = told(*(kind(kind.__name__, start=START + n * HOUR) for n, kind in enumerate(kinds)))
    assert rows(ledger) == []
    declare(ledger, WEEK06)
    assert_the_same(ledger, 1)
    (row,) = rows(ledger)
    assert (row["run_id"], row["decision"], row["closed"]) == ("open_run", "hold_downstream", False)
    assert row["superseded"] == ["good_run", "failed_run", "dry_run", "warned_run"]


@pytest.mark.soak
def test_each_delivery_has_its_documents_and_its_sign_off(told: Tell, call: Call, tmp_path: Path) -> None:
    """Of the run that counts alone; a sign-off that lapsed is none."""
    ledger = declare(told(failed_run("run-1")), WEEK06)
    write_run_documents(ledger, "run-1", tmp_path)
    told(good_run("run-2", start=START + HOUR))
    assert rows(ledger)[0]["evidence"] == []
    written = write_run_documents(ledger, "run-2", tmp_path)
    asked = ("--product", WEEK06.product, "--partition", DAY, "--actor", "Ada", "--reason", "seen")
    assert call("sign-off", *asked, "--decision", "proceed").code == 0
    (row,) = rows(ledger)
    (document,) = row["evidence"]
    assert document["name"] == f"run_evidence/{written.evidence[0].name}"
    assert (row["sign_off"], row["signed_off_by"], row["sign_off_lapsed"]) == ("proceed", "Ada", None)
    told(warned_run("run-3", start=START + 2 * HOUR))
    (row,) = rows(ledger)
    assert (row["sign_off"], row["signed_off_by"]) == (None, "Ada")
    assert "run-3 delivers it since" in row["sign_off_lapsed"]


def test_deliveries_are_by_the_profile_that_held(told: Tell) -> None:
    """Declared anew, with another word for going on: of the run before, the old word stays."""
    other_day = "2026-04-18"
    ledger = declare(told(good_run("run-1")), WEEK06, SHOP)
    declare(ledger, replace(OTHER, proceed="free"))
    product = Story("run-2", start=START + HOUR).plan([PlanItem(WEEK06.product, other_day)], {})
    told(product.made(WEEK06.product, other_day).end().close())
    found = [(row["partition"], row["decision"]) for row in rows(ledger)]
    assert found == [(DAY, "proceed_to_week07"), (other_day, "free")]


def test_a_run_that_cannot_be_read_holds_back_what_it_is_the_latest_of(told: Tell) -> None:
    """No earlier run takes its place."""
    ledger = declare(told(good_run("run-1"), good_run("run-2", start=START + HOUR)), WEEK06)
    assert [row["decision"] for row in rows(ledger)] == ["proceed_to_week07"]
    broken = Story("run-3", start=START + 2 * HOUR).plan().end()
    broken._own("outcomes.derived.v1", {"revision": 1, "outcomes": [{"asset_key": 5}]})
    broken._own("run.closed.v1", {"revision": 1, "status": "succeeded"})
    told(broken)
    (row,) = rows(ledger)
    assert (row["run_id"], row["verdict"], row["decision"]) == ("run-3", "unknown", "hold_downstream")
    assert row["reason_code"] == "run_not_readable"
