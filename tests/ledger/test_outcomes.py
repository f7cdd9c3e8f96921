"""Every planned item has exactly one outcome, and only evidence of success is a success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import OUTCOMES
from ledger.outcomes import RUN_ENDED, VERDICT_OF, RunEvent, derive_outcomes
from ledger.plan import Kind, Plan, PlanItem, plan_parts
from tests.ledger.samples import NOON

ASSETS = ("a", "b")
PARTITIONS = (None, "2026-04-17", "2026-04-18")
STEPS = (None, "s1", "s2")
KINDS: tuple[Kind, ...] = ("materialize", "observe", "check", "dependency")
TYPES = (
    "run.started.v1",
    *RUN_ENDED,
    "step.started.v1",
    "step.restarted.v1",
    "step.retry_scheduled.v1",
    "step.succeeded.v1",
    "step.failed.v1",
    "step.skipped.v1",
    "asset.materialized.v1",
    "asset.observed.v1",
    "asset.skipped.v1",
    "check.evaluated.v1",
    "engine.reported.v1",
)
SUCCESS = {
    "materialized": "asset.materialized.v1",
    "observed": "asset.observed.v1",
    "check_passed": "check.evaluated.v1",
}


@st.composite
def plan_items(draw: st.DrawFn) -> PlanItem:
    """Draw an item; checks, and only they, have the name of a check."""
    kind = draw(st.sampled_from(KINDS))
    return PlanItem(
        asset_key=draw(st.sampled_from(ASSETS)),
        partition=draw(st.sampled_from(PARTITIONS)),
        check_name=draw(st.sampled_from(["c1", "c2"])) if kind == "check" else None,
        step_key=draw(st.sampled_from(STEPS)),
        kind=kind,
        required=draw(st.booleans()),
        reason_code=draw(st.sampled_from([None, "not_there"])),
    )


def _numbered(drawn: list[dict[str, Any]]) -> list[RunEvent]:
    return [RunEvent(event_id=f"e{n}", occurred_at=NOON + n, **values) for n, values in enumerate(drawn)]


run_events = st.lists(
    st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(TYPES),
            "step_key": st.sampled_from(STEPS),
            "asset_key": st.sampled_from([None, *ASSETS]),
            "partition": st.sampled_from(PARTITIONS),
            "check_name": st.sampled_from([None, "c1", "c2"]),
            "outcome": st.sampled_from([None, *OUTCOMES]),
            "reason_code": st.sampled_from([None, "why"]),
            "data": st.sampled_from([{}, {"text": "said"}, {"error": {"message": "broken"}}, {"error": None}]),
        }
    ),
    max_size=25,
).map(_numbered)
plans = st.builds(
    Plan,
    st.lists(plan_items(), max_size=8, unique_by=lambda i: (i.asset_key, i.partition, i.check_name)).map(tuple),
    st.dictionaries(st.sampled_from(["s1", "s2"]), st.lists(st.sampled_from(["s1", "s2"])).map(tuple)),
)


def _planned(plan: Plan) -> list[RunEvent]:
    return [
        RunEvent(event_id=f"plan{n}", event_type="plan.committed.v1", occurred_at=NOON, data=part)
        for n, part in enumerate(plan_parts(plan))
    ]


@given(plans, run_events)
def test_every_item_has_one_outcome_whatever_was_recorded(plan: Plan, events: list[RunEvent]) -> None:
    """Total over any sequence of events: one outcome each, in the lattice, not passed only with a reason."""
    outcomes = derive_outcomes([*_planned(plan), *events])
    assert sorted(map(repr, (o.item for o in outcomes))) == sorted(map(repr, plan.items))
    known = {event.event_id for event in events}
    for outcome in outcomes:
        assert outcome.verdict in OUTCOMES
        assert VERDICT_OF[outcome.outcome] == outcome.verdict
        assert (outcome.verdict == "passed") == (outcome.reason_code is None)
        assert set(outcome.basis) <= known


@given(plans, run_events)
def test_only_an_event_that_says_so_is_a_success(plan: Plan, events: list[RunEvent]) -> None:
    """A passed item rests on a materialization, an observation or a passed check of that very item."""
    by_id = {event.event_id: event for event in events}
    for outcome in derive_outcomes([*_planned(plan), *events]):
        if outcome.verdict != "passed":
            continue
        (basis,) = (by_id[event_id] for event_id in outcome.basis)
        item = outcome.item
        assert basis.event_type == SUCCESS[outcome.outcome]
        assert basis.asset_key == item.asset_key
        if item.check_name is not None:
            assert (basis.check_name, basis.outcome) == (item.check_name, "passed")
        else:
            assert item.partition in {None, basis.partition}
        if outcome.outcome == "observed":
            assert item.kind == "observe" or not item.required


@given(plans, run_events)
def test_outcomes_depend_on_nothing_but_the_events(plan: Plan, events: list[RunEvent]) -> None:
    """Derived twice, from parts told twice, they are the same."""
    parts = _planned(plan)
    assert derive_outcomes([*parts, *events]) == derive_outcomes([*parts, *events, *parts])


def test_a_run_without_a_plan_has_no_outcomes() -> None:
    """Nothing is invented: what was never planned cannot have failed."""
    assert derive_outcomes([_event("run.failed.v1")]) == ()


@dataclass(frozen=True)
class Case:
    """A hand-written run: what was planned, what was recorded, what became of it."""

    name: str
    item: PlanItem
    events: Sequence[RunEvent]
    outcome: str
    reason_code: str | None
    attempts: int = 1
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _event(event_type: str, step_key: str | None = None, **values: Any) -> RunEvent:
    return RunEvent(
        event_id=f"{event_type} {step_key}", event_type=event_type, occurred_at=NOON, step_key=step_key, **values
    )


ASSET = PlanItem("a", "2026-04-17", step_key="s")
CHECK = PlanItem("a", "2026-04-17", "c", "s", "check")
OTHER_CHECK_PASSED = RunEvent(
    event_id="other",
    event_type="check.evaluated.v1",
    occurred_at=NOON,
    asset_key="a",
    check_name="d",
    outcome="passed",
)
OBSERVED = RunEvent(event_id="o", event_type="asset.observed.v1", occurred_at=NOON, step_key="s", asset_key="a")
OPTIONAL = PlanItem("a", step_key="s", required=False, reason_code="week04_lakehouse_not_available", reason="off")
ELSEWHERE = PlanItem("x", kind="dependency", required=False, reason_code="week05_not_available")
START, END = _event("step.started.v1", "s"), _event("step.succeeded.v1", "s")
FAILED = _event("step.failed.v1", "s", data={"error": {"message": "op", "cause": {"message": "no such file"}}})
MADE = _event("asset.materialized.v1", "s", asset_key="a", partition="2026-04-17")
SUCCEEDED, BROKE, CANCELED = _event("run.succeeded.v1"), _event("run.failed.v1"), _event("run.canceled.v1")


def _skip(outcome: str) -> RunEvent:
    return _event("asset.skipped.v1", "s", asset_key="a", outcome=outcome, reason_code="why", data={"text": "told"})


def _checked(outcome: str | None, **values: Any) -> RunEvent:
    return _event("check.evaluated.v1", "s", asset_key="a", check_name="c", outcome=outcome, **values)


CASES = [
    Case("made", ASSET, [START, MADE, END, SUCCEEDED], "materialized", None),
    Case("made, though the run failed elsewhere", ASSET, [START, MADE, END, BROKE], "materialized", None),
    Case("made after the run's end, by a killed worker", ASSET, [START, BROKE, MADE, END], "materialized", None),
    Case(
        "made another partition",
        ASSET,
        [START, _event("asset.materialized.v1", "s", asset_key="a", partition="2026-04-18"), END, SUCCEEDED],
        "skipped",
        "no_output",
    ),
    Case(
        "made no partition in particular",
        ASSET,
        [START, _event("asset.materialized.v1", "s", asset_key="a"), END, SUCCEEDED],
        "skipped",
        "no_output",
    ),
    Case(
        "only observed what should be made",
        ASSET,
        [START, _event("asset.observed.v1", "s", asset_key="a", partition="2026-04-17"), END, SUCCEEDED],
        "skipped",
        "no_output",
    ),
    Case("yielded nothing", ASSET, [START, END, SUCCEEDED], "skipped", "no_output"),
    Case("skipped itself", ASSET, [START, _skip("skipped"), END, SUCCEEDED], "skipped", "why"),
    Case("is not available", ASSET, [START, _skip("not_available"), END, SUCCEEDED], "not_available", "why"),
    Case("skipped, then made on retry", ASSET, [START, _skip("skipped"), MADE, END], "materialized", None),
    Case("failed", ASSET, [START, FAILED, BROKE], "failed", "step_failed"),
    Case(
        "failed after a retry",
        ASSET,
        [START, _event("step.retry_scheduled.v1", "s"), _event("step.restarted.v1", "s"), FAILED, BROKE],
        "failed",
        "step_failed",
        attempts=2,
    ),
    Case(
        "was skipped by Dagster", ASSET, [_event("step.skipped.v1", "s")], "upstream_skipped", "upstream_skipped", 0
    ),
    Case(
        "upstream failed, two steps away",
        ASSET,
        [_event("step.failed.v1", "u"), BROKE],
        "upstream_failed",
        "upstream_failed",
        0,
        {"s": ("t",), "t": ("u",)},
    ),
    Case("the worker died", ASSET, [START, BROKE], "lost", "process_lost"),
    Case("canceled while it ran", ASSET, [START, CANCELED], "canceled", "run_canceled"),
    Case("canceled before it ran", ASSET, [CANCELED], "canceled", "run_canceled", 0),
    Case("the run failed before it", ASSET, [BROKE], "not_started", "run_failed_before_step", 0),
    Case("the run ended without it", ASSET, [SUCCEEDED], "not_started", "never_started", 0),
    Case("still runs", ASSET, [START], "pending", "still_running"),
    Case("has not begun", ASSET, [], "pending", "not_started_yet", 0),
    Case("a check passed", CHECK, [START, _checked("passed"), END, SUCCEEDED], "check_passed", None),
    Case("a check warned", CHECK, [START, _checked("warned"), END], "check_warned", "check_warned"),
    Case("a check failed", CHECK, [START, _checked("failed", reason_code="why"), END], "check_failed", "why"),
    Case("a check said nothing", CHECK, [START, _checked(None), END], "check_failed", "check_failed"),
    Case(
        "a check's last word counts",
        CHECK,
        [_checked("passed"), _checked("failed")],
        "check_failed",
        "check_failed",
        0,
    ),
    Case("a check crashed", CHECK, [START, FAILED, BROKE], "not_evaluated", "check_crashed"),
    Case("a check was never evaluated", CHECK, [START, END, SUCCEEDED], "not_evaluated", "no_output"),
    Case("a check's worker died", CHECK, [START, BROKE], "not_evaluated", "process_lost"),
    Case("a check's turn may still come", CHECK, [START], "pending", "still_running"),
    Case("another check passed", CHECK, [OTHER_CHECK_PASSED, SUCCEEDED], "not_evaluated", "never_started", 0),
    Case(
        "an optional one yielded nothing",
        OPTIONAL,
        [START, END, SUCCEEDED],
        "not_available",
        "week04_lakehouse_not_available",
    ),
    Case("an optional one failed", OPTIONAL, [START, FAILED, BROKE], "failed", "step_failed"),
    Case("an optional one was observed", OPTIONAL, [START, OBSERVED, END], "observed", None),
    Case("a dependency of elsewhere", ELSEWHERE, [SUCCEEDED], "not_available", "week05_not_available", 0),
    Case("observed", PlanItem("a", step_key="s", kind="observe"), [START, OBSERVED, END], "observed", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_became_of_an_item(case: Case) -> None:
    """Each way a run can go has its word and its reason."""
    (outcome,) = derive_outcomes([*_planned(Plan((case.item,), case.after)), *case.events])
    assert (outcome.outcome, outcome.reason_code) == (case.outcome, case.reason_code)
    assert outcome.attempts == case.attempts
    assert (outcome.reason is None) == (outcome.verdict == "passed")


def test_a_failure_is_told_in_the_words_of_the_cause() -> None:
    """The reason is the user's own error, and it names the event it rests on."""
    (outcome,) = derive_outcomes([*_planned(Plan((ASSET,), {})), START, FAILED, BROKE])
    assert (outcome.reason, outcome.basis) == ("no such file", (FAILED.event_id,))
