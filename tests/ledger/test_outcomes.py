"""Every planned item has exactly one outcome, and only evidence of success is a success."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import OUTCOMES
from run_evidence.ledger.model.outcomes import (
    RUN_ENDED,
    VERDICT_OF,
    Outcome,
    RunEvent,
    derive_outcomes,
    outcome_parts,
)
from run_evidence.ledger.model.plan import Kind, Plan, PlanItem, plan_parts
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
    "step.expectation_evaluated.v1",
    "hook.errored.v1",
    "engine.reported.v1",
)
RUN_ENDS = tuple(RUN_ENDED)
SUCCESS = {
    "materialized": "asset.materialized.v1",
    "observed": "asset.observed.v1",
    "check_passed": "check.evaluated.v1",
    "expected": "step.expectation_evaluated.v1",
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


def _stating(status: str | bool | None, *codes: str, kind: str = "text") -> dict[str, Any]:
    """Return the data of an event whose metadata states a status and reason codes."""
    entries: list[dict[str, Any]] = [{"label": "status", "type": kind, "value": status}]
    entries += [{"label": "reason_codes", "type": "json", "value": json.dumps(list(codes))}] if codes else []
    return {"metadata": entries}


DATA: list[dict[str, Any]] = [
    *({}, {"text": "said"}, {"error": {"message": "broken"}}, {"error": None}, {"error": {"names": ["a"]}}),
    *(_stating(status, "code") for status in ("success", "warning", "skipped", "unknown", "failed", "ok")),
]
run_events = st.lists(
    st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(TYPES),
            "step_key": st.sampled_from(STEPS),
            "attempt": st.sampled_from([None, 1, 2]),
            "asset_key": st.sampled_from([None, *ASSETS]),
            "partition": st.sampled_from(PARTITIONS),
            "check_name": st.sampled_from([None, "c1", "c2"]),
            "outcome": st.sampled_from([None, *OUTCOMES]),
            "reason_code": st.sampled_from([None, "why"]),
            "data": st.sampled_from(DATA),
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
    """Total over any sequence of events: one outcome each, in the lattice, not passed only with a reason.

    What came without a plan is an item too, once for each asset, partition and check.
    """
    outcomes = derive_outcomes([*_planned(plan), *events])
    assert sorted(repr(o.item) for o in outcomes if o.planned) == sorted(map(repr, plan.items))
    names = [(o.item.asset_key, o.item.partition, o.item.check_name) for o in outcomes]
    assert len(set(names)) == len(names)
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
        if basis.event_type == SUCCESS["expected"]:
            assert (outcome.planned, basis.outcome, outcome.outcome) == (False, "passed", "check_passed")
            continue
        assert basis.event_type == SUCCESS[outcome.outcome]
        assert basis.asset_key == item.asset_key
        if item.check_name is not None:
            assert (basis.check_name, basis.outcome) == (item.check_name, "passed")
        else:
            assert item.partition in {None, basis.partition}
        if outcome.outcome == "observed":
            assert item.kind == "observe" or not item.required


@given(plans, run_events)
def test_what_was_produced_or_checked_is_in_the_outcomes(plan: Plan, events: list[RunEvent]) -> None:
    """No materialization and no evaluation is without an item, planned or not."""
    outcomes = derive_outcomes([*_planned(plan), *events])
    items = {(o.item.asset_key, o.item.check_name, o.item.partition) for o in outcomes}
    for event in events:
        check = event.check_name if event.event_type == "check.evaluated.v1" else None
        if event.asset_key is None or (check is None and event.event_type != "asset.materialized.v1"):
            continue
        partitions = {partition for key, name, partition in items if (key, name) == (event.asset_key, check)}
        assert partitions & {None, event.partition} or (
            check is not None and event.partition is None and partitions
        )


@given(plans, run_events, st.permutations(["passed", "failed", "warned", "passed"]))
def test_the_gravest_evaluation_of_an_attempt_counts_in_any_order(
    plan: Plan, events: list[RunEvent], words: list[str]
) -> None:
    """Of a check's evaluations in one attempt the worst counts, planned or not; a retry replaces them."""
    said = [
        RunEvent(event_id=f"s{n}", event_type="check.evaluated.v1", occurred_at=NOON, step_key="own", attempt=7,
                 asset_key="x", check_name="c", outcome=word)
        for n, word in enumerate(words)
    ]  # fmt: skip
    planned = Plan((*plan.items, PlanItem("x", None, "c", "own", "check")), plan.after)
    again = replace(said[0], event_id="again", attempt=8, outcome="passed")
    for base in (plan, planned):
        for more, word in (([], "check_failed"), ([again], "check_passed")):
            found = derive_outcomes([*_planned(base), *events, *said, *more])
            assert [o.outcome for o in found if o.item.asset_key == "x"] == [word]


@given(plans, run_events, st.permutations(["failed", "skipped", "pending", "warned", "success"]))
def test_the_gravest_word_of_an_attempt_counts_in_any_order(
    plan: Plan, events: list[RunEvent], statuses: list[str]
) -> None:
    """Several words of an asset in one attempt are as bad as the worst of them; a retry replaces them."""
    said = [
        RunEvent(event_id=f"s{n}", event_type="asset.materialized.v1", occurred_at=NOON, step_key="own", attempt=7,
                 asset_key="x", data=_stating(status))
        for n, status in enumerate(statuses)
    ]  # fmt: skip
    planned = Plan((*plan.items, PlanItem("x", step_key="own")), plan.after)
    again = replace(said[0], event_id="again", attempt=8, data={})
    for more, word in (([], "failed"), ([again], "materialized")):
        found = derive_outcomes([*_planned(planned), *events, *said, *more])
        assert [o.outcome for o in found if o.item.asset_key == "x"] == [word]


WORSE = ("passed", "warned", "skipped", "not_available", "not_evaluated", "unknown", "failed")


FAILING = st.builds(
    RunEvent,
    event_id=st.just("failing"),
    event_type=st.just("check.evaluated.v1"),
    occurred_at=st.just(NOON),
    asset_key=st.sampled_from(ASSETS),
    check_name=st.just("c1"),
    partition=st.sampled_from([None, "2026-04-17"]),
    outcome=st.just("failed"),
    reason_code=st.just("check_failed"),
) | st.builds(
    RunEvent,
    event_id=st.just("failing"),
    event_type=st.just("step.failed.v1"),
    occurred_at=st.just(NOON),
    step_key=st.sampled_from(["s1", "s2"]),
)


@given(plans, run_events, FAILING, st.sampled_from(RUN_ENDS))
def test_what_failed_makes_nothing_better(plan: Plan, events: list[RunEvent], failing: RunEvent, end: str) -> None:
    """A failure added last to a run that ended worsens what it is about, and makes no item better or vanish."""
    ended = [*_planned(plan), *events, RunEvent(event_id="end", event_type=end, occurred_at=NOON)]
    before, after = (
        {(o.item.asset_key, o.item.partition, o.item.check_name): o for o in derive_outcomes(each)}
        for each in (ended, [*ended, failing])
    )
    assert before.keys() <= after.keys()
    for name, outcome in before.items():
        assert WORSE.index(after[name].verdict) >= WORSE.index(outcome.verdict)
    if failing.check_name is not None:
        about = [o for o in after.values() if o.item.check_name and o.item.asset_key == failing.asset_key]
        assert any(o.outcome == "check_failed" for o in about)  # by this evaluation, or by a graver one before it


@given(plans, run_events)
def test_outcomes_depend_on_nothing_but_the_events(plan: Plan, events: list[RunEvent]) -> None:
    """Derived twice, from parts told twice, they are the same."""
    parts = _planned(plan)
    assert derive_outcomes([*parts, *events]) == derive_outcomes([*parts, *events, *parts])


def test_a_run_without_a_plan_and_without_results_has_no_outcomes() -> None:
    """Nothing is invented: what was never planned, produced or checked has no outcome."""
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
AGAIN = _event("step.restarted.v1", "s", attempt=2)
MADE_AGAIN = _event("asset.materialized.v1", "s", attempt=2, asset_key="a", partition="2026-04-17")
MADE_ELSEWHERE = _event("asset.materialized.v1", "t", asset_key="a", partition="2026-04-17")
SUCCEEDED, BROKE, CANCELED = _event("run.succeeded.v1"), _event("run.failed.v1"), _event("run.canceled.v1")


def _skip(outcome: str) -> RunEvent:
    return _event("asset.skipped.v1", "s", asset_key="a", outcome=outcome, reason_code="why", data={"text": "told"})


def _stated(status: str | bool | None, *codes: str, kind: str = "text") -> RunEvent:
    return replace(MADE, data=_stating(status, *codes, kind=kind))


def _checked(outcome: str | None, **values: Any) -> RunEvent:
    return _event("check.evaluated.v1", "s", asset_key="a", check_name="c", outcome=outcome, **values)


CASES = [
    Case("made", ASSET, [START, MADE, END, SUCCEEDED], "materialized", None),
    *(
        Case(f"made, and says {status}", ASSET, [START, _stated(status, "code"), END], word, "code")
        for status, word in (
            *(("skipped", "skipped"), ("not_available", "not_available"), ("failed", "failed")),
            ("warning", "materialized_with_warning"),
        )
    ),
    Case("says skipped without a code", ASSET, [START, _stated("skipped"), END], "skipped", "status_skipped"),
    Case(
        "says skipped, then made on retry",
        ASSET,
        [START, _stated("skipped"), AGAIN, MADE_AGAIN, END],
        "materialized",
        None,
        2,
    ),
    *(
        Case(
            f"made, and says {status!r} of something else",
            ASSET,
            [START, _stated(status), END],
            "materialized",
            None,
        )
        for status in ("success", "active", "200", "ok", "failed over to b")
    ),
    *(
        Case(f"made, and says {status!r}", ASSET, [START, _stated(status), END], word, f"status_{code}")
        for status, word, code in (
            *(("Skipped", "skipped", "skipped"), ("FAILED", "failed", "failed"), ("error ", "failed", "error")),
            *(("not_evaluated", "not_evaluated", "not_evaluated"), ("unknown", "unknown", "unknown")),
            *(("pending", "unknown", "pending"), ("", "unknown", "empty"), ("None", "unknown", "empty")),
            ("partial", "materialized_with_warning", "partial"),
        )
    ),
    Case("states a null", ASSET, [START, _stated(None, kind="null"), END], "unknown", "status_empty"),
    *(
        Case(f"says {value!r} as {kind}", ASSET, [START, _stated(value, kind=kind), END], word, code)
        for kind, value, word, code in (
            *(("bool", False, "failed", "status_false"), ("bool", True, "materialized", None)),
            *(("text", "False", "failed", "status_false"), ("text", "failed.", "failed", "status_failed")),
            *(("markdown", "**Failed**", "failed", "status_failed"), ("path", "failed", "failed", "status_failed")),
            *(("url", "skipped", "skipped", "status_skipped"), ("float", "nan", "unknown", "status_empty")),
            *(("json", '"failed"', "failed", "status_failed"), ("json", "null", "unknown", "status_empty")),
            *(("json", "false", "failed", "status_false"), ("json", "true", "materialized", None)),
            *(
                ("json", '{"a": {"b": ["ok", "failed", "warning"]}}', "failed", "status_failed"),
                ("json", "0", "materialized", None),
            ),
            *(
                ("json", '{"failed": 0, "error": null, "note": ""}', "materialized", None),
                ("float", "0.5", "materialized", None),
            ),
            ("text", "Not available", "not_available", "status_not_available"),
        )
    ),
    Case("states a number", ASSET, [START, _stated("failed", kind="int"), END], "materialized", None),
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
    Case("skipped, and recorded as made", ASSET, [START, _skip("skipped"), MADE, END], "skipped", "why"),
    Case(
        "recorded as made, and skipped", ASSET, [START, MADE, _skip("not_available"), END], "not_available", "why"
    ),
    Case(
        "skipped, then made on retry", ASSET, [START, _skip("skipped"), AGAIN, MADE_AGAIN], "materialized", None, 2
    ),
    Case("skipped, made by another step", ASSET, [START, _skip("skipped"), MADE_ELSEWHERE], "materialized", None),
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
    *(
        Case(
            f"a check passed and says {status}",
            CHECK,
            [_checked("passed", data=_stating(status, "code"))],
            word,
            code,
            0,
        )
        for status, word, code in (
            *(("skipped", "check_skipped", "code"), ("not_available", "check_skipped", "code")),
            *(("not_evaluated", "not_evaluated", "code"), ("unknown", "unknown", "code")),
            *(
                ("failed", "check_failed", "code"),
                ("warning", "check_warned", "code"),
                ("pass", "check_passed", None),
            ),
        )
    ),
    Case(
        "a check failed and says skipped",
        CHECK,
        [_checked("failed", data=_stating("skipped"))],
        "check_failed",
        "check_failed",
        0,
    ),
    Case("a check said nothing", CHECK, [START, _checked(None), END], "check_failed", "check_failed"),
    Case(
        "a check's last word counts",
        CHECK,
        [_checked("passed"), _checked("failed")],
        "check_failed",
        "check_failed",
        0,
    ),
    Case(
        "a check's gravest word of an attempt counts",
        CHECK,
        [_checked("failed"), _checked("passed")],
        "check_failed",
        "check_failed",
        0,
    ),
    Case(
        "a check passed on retry",
        CHECK,
        [START, _checked("failed"), AGAIN, _checked("passed", attempt=2), END],
        "check_passed",
        None,
        2,
    ),
    Case(
        "a check failed, and a retry said nothing",
        CHECK,
        [START, _checked("failed"), AGAIN, END],
        "check_failed",
        "check_failed",
        2,
    ),
    Case(
        "a check passed in an attempt that failed",
        CHECK,
        [START, _checked("passed"), AGAIN, END],
        "check_warned",
        "only_in_earlier_attempt",
        2,
    ),
    Case(
        "made in an attempt that failed",
        ASSET,
        [START, MADE, AGAIN, END],
        "materialized_with_warning",
        "only_in_earlier_attempt",
        2,
    ),
    Case(
        "says skipped in an attempt that failed",
        ASSET,
        [START, _stated("skipped"), AGAIN, END],
        "skipped",
        "status_skipped",
        2,
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
    outcome, *_unplanned = derive_outcomes([*_planned(Plan((case.item,), case.after)), *case.events])
    assert outcome.planned
    assert (outcome.outcome, outcome.reason_code) == (case.outcome, case.reason_code)
    assert outcome.attempts == case.attempts
    assert (outcome.reason is None) == (outcome.verdict == "passed")


def test_a_failure_is_told_in_the_words_of_the_cause() -> None:
    """The reason is the user's own error, and it names the event it rests on."""
    (outcome,) = derive_outcomes([*_planned(Plan((ASSET,), {})), START, FAILED, BROKE])
    assert (outcome.reason, outcome.basis) == ("no such file", (FAILED.event_id,))


EXPECTING = Plan((PlanItem("a", step_key="g.last"), PlanItem("b", step_key="s")), {"g.last": ("g.first",)})


def _expects(step_key: str, passed: bool, label: str = "result", attempt: int = 1) -> RunEvent:
    return _event(
        "step.expectation_evaluated.v1",
        step_key,
        attempt=attempt,
        outcome="passed" if passed else "failed",
        reason_code=None if passed else "expectation_failed",
        data={"label": label, "message": "Expectation"},
    )


@pytest.mark.parametrize(
    ("expectations", "found"),
    [
        ([_expects("s", True)], {("b", "expectation:result", "check_passed")}),
        ([_expects("s", False), _expects("s", True)], {("b", "expectation:result", "check_failed")}),
        ([_expects("s", False), _expects("s", True, attempt=2)], {("b", "expectation:result", "check_passed")}),
        ([_expects("g.first", False), _expects("g.last", True)], {("a", "expectation:result", "check_failed")}),
        ([_expects("elsewhere", False)], {("", "expectation:elsewhere:result", "check_failed")}),
        (
            [replace(_checked("passed"), check_name="expectation:x"), _expects("g.first", False, "x")],
            {("a", "expectation:x", "check_passed"), ("a", "expectation:expectation:x", "check_failed")},
        ),
    ],
)
def test_an_expectation_is_a_check_that_nobody_planned(
    expectations: list[RunEvent], found: set[tuple[str, str, str]]
) -> None:
    """One of each label and asset, failed where any step's last attempt failed it, under no check's name."""
    starts = [_event("step.started.v1", key) for key in ("g.first", "g.last", "s", "elsewhere")]
    unplanned = [o for o in derive_outcomes([*_planned(EXPECTING), *starts, *expectations]) if not o.planned]
    assert {(o.item.asset_key, o.item.check_name, o.outcome) for o in unplanned} == found


GRAPH = PlanItem("g", step_key="g.last")
INNER = {"g.last": ("g.mid",), "g.mid": ("g.first",), "g.first": ("before",), "after": ("g.last",)}
_FAILED = ("failed", "step_failed")
_UPSTREAM = ("upstream_failed", "upstream_failed")
_SKIPPED = [_event("step.skipped.v1", key) for key in ("g.mid", "g.last")]
_LAST_MADE = _event("asset.materialized.v1", "g.last", asset_key="g")
_BEFORE_MADE = [_event(f"step.{what}.v1", "before") for what in ("started", "output_yielded", "succeeded")]


def _in(step_key: str, *what: str) -> list[RunEvent]:
    return [_event(f"step.{each}.v1", step_key) for each in what]


GRAPH_CASES = [
    Case("an op of its own failed", GRAPH, _in("g.first", "started", "failed"), *_FAILED),
    Case("an op was tried twice", GRAPH, _in("g.mid", "started", "restarted", "failed"), *_FAILED, 2),
    Case("an op of its own died", GRAPH, [*_in("g.first", "started"), BROKE], "lost", "process_lost"),
    Case("canceled within it", GRAPH, [*_in("g.mid", "started"), CANCELED], "canceled", "run_canceled"),
    Case(
        "an op of its own yielded nothing",
        GRAPH,
        [*_BEFORE_MADE, *_in("g.first", "started", "succeeded"), *_SKIPPED],
        "skipped",
        "no_output",
    ),
    Case(
        "what it waits for yielded nothing",
        GRAPH,
        [*_in("before", "succeeded"), _event("step.skipped.v1", "g.first"), *_SKIPPED],
        "upstream_skipped",
        "upstream_skipped",
        0,
    ),
    Case(
        "an op of its own yielded nothing, and it was made all the same",
        GRAPH,
        [
            *_in("g.first", "started", "succeeded"),
            *_in("g.mid", "started", "output_yielded", "succeeded"),
            _LAST_MADE,
        ],
        "materialized_with_warning",
        "no_output",
    ),
    Case(
        "an op of its own yielded in an attempt that failed alone",
        GRAPH,
        [
            *_in("g.mid", "started", "output_yielded"),
            _event("step.restarted.v1", "g.mid", attempt=2),
            *_in("g.mid", "succeeded"),
            _LAST_MADE,
        ],
        "materialized_with_warning",
        "no_output",
        2,
    ),
    Case(
        "an op of its own says with its output that it failed",
        GRAPH,
        [
            *_in("g.first", "started"),
            _event("step.output_yielded.v1", "g.first", data=_stating("failed")),
            _LAST_MADE,
        ],
        "failed",
        "status_failed",
    ),
    Case(
        "what it waits for says with its output that it failed",
        GRAPH,
        [
            *_in("g.last", "started"),
            _event("step.output_yielded.v1", "before", data=_stating("failed")),
            _LAST_MADE,
        ],
        "materialized",
        None,
    ),
    Case("what it waits for failed", GRAPH, [*_in("before", "failed"), BROKE], *_UPSTREAM, 0),
    Case("it failed", PlanItem("x", step_key="after"), [*_in("g.first", "failed"), BROKE], *_UPSTREAM, 0),
]


@pytest.mark.parametrize("case", GRAPH_CASES, ids=lambda case: case.name)
def test_all_ops_of_a_graph_backed_asset_are_its_own(case: Case) -> None:
    """What went wrong in an inner op went wrong in the asset; what went wrong before it did not."""
    (outcome,) = derive_outcomes([*_planned(Plan((case.item,), INNER)), *case.events])
    assert (outcome.outcome, outcome.reason_code, outcome.attempts) == (
        case.outcome,
        case.reason_code,
        case.attempts,
    )


MAPPED = {"g.last": ("g.tidy[?]",), "g.tidy[?]": ("g.each[?]",), "g.each[?]": ("g.split",)}


@pytest.mark.parametrize(
    ("split", "of_each", "word"),
    [
        (["output_yielded"], {"a": ["output_yielded"], "b": ["output_yielded"]}, "materialized"),
        (["output_yielded"], {"a": ["output_yielded"], "b": []}, "materialized_with_warning"),
        ([], {}, "materialized"),
    ],
)
def test_a_mapped_op_that_yields_nothing_leaves_its_asset_in_doubt(
    split: list[str], of_each: Mapping[str, list[str]], word: str
) -> None:
    """Each of what a dynamic op became has to yield; that there was nothing to map over is no fault."""
    events = [*_in("g.split", "started", *split, "succeeded")]
    for key, yields in of_each.items():
        events += _in(f"g.each[{key}]", "started", *yields, "succeeded")
        events += _in(f"g.tidy[{key}]", *(["started", *yields, "succeeded"] if yields else ["skipped"]))
    (outcome,) = derive_outcomes([*_planned(Plan((GRAPH,), MAPPED)), *events, _LAST_MADE])
    assert outcome.outcome == word


@given(plans, run_events)
def test_only_the_last_attempt_of_a_step_makes_a_success(plan: Plan, events: list[RunEvent]) -> None:
    """What passed rests on no event of an attempt after which its step was started once more."""
    last = {
        key: max(
            (e.attempt or 1 for e in events if e.step_key == key and e.event_type == "step.restarted.v1"), default=1
        )
        for key in STEPS
    }
    by_id = {event.event_id: event for event in events}
    for outcome in derive_outcomes([*_planned(plan), *events]):
        for basis in (by_id[each] for each in outcome.basis if outcome.verdict == "passed"):
            assert basis.step_key is None or (basis.attempt or 1) >= last[basis.step_key]


def test_an_op_of_another_asset_of_the_same_graph_is_not_its_own() -> None:
    """Of two assets out of one graph the second waits for the first, and follows from its failure."""
    plan = Plan((PlanItem("a", step_key="g.a"), PlanItem("b", step_key="g.b")), {"g.a": ("g.x",), "g.b": ("g.a",)})
    first, second = derive_outcomes([*_planned(plan), _event("step.failed.v1", "g.x"), BROKE])
    assert (first.outcome, second.outcome) == ("failed", "upstream_failed")


BUILD = Plan(
    (
        *(PlanItem(key, step_key="dbt") for key in ("shop/bad", "shop/after_bad", "shop/good")),
        PlanItem("shop/good", None, "not_null_good_id", "dbt", "check"),
    ),
    {},
)


def _built(*names: str) -> dict[str, Outcome]:
    error = {"message": "the command failed", "names": list(names)}
    events = [
        _event("step.started.v1", "dbt"),
        _event("asset.materialized.v1", "dbt", asset_key="shop/good"),
        _event("step.failed.v1", "dbt", data={"error": error}),
        BROKE,
    ]
    found = derive_outcomes([*_planned(BUILD), *events])
    return {o.item.check_name or o.item.asset_key: o for o in found}


def test_what_a_failed_step_did_not_come_to_did_not_fail() -> None:
    """Where an error names what failed in a step of many assets, the others are not produced, and say why."""
    found = _built("bad", "something_else")
    assert {key: outcome.outcome for key, outcome in found.items()} == {
        "shop/bad": "failed",
        "shop/after_bad": "not_produced",
        "shop/good": "materialized",
        "not_null_good_id": "not_evaluated",
    }
    assert found["shop/after_bad"].reason == "its step failed over bad before it"
    assert found["not_null_good_id"].reason_code == "step_failed_elsewhere"


@pytest.mark.parametrize("names", [(), ("nothing_of_ours",)])
def test_a_step_whose_error_names_nothing_failed_for_all_of_it(names: tuple[str, ...]) -> None:
    """Without a finer truth all that it did not produce failed."""
    found = _built(*names)
    assert {found[key].outcome for key in ("shop/bad", "shop/after_bad")} == {"failed"}
    assert found["not_null_good_id"].reason_code == "check_crashed"


DAYS = ("2026-03-06", "2026-03-07", "2026-03-08")


@pytest.mark.parametrize("evaluated", [DAYS[:1], DAYS[:2], DAYS, (None,), (None, DAYS[0])])
def test_a_check_is_passed_in_the_partitions_it_was_evaluated_for(evaluated: tuple[str | None, ...]) -> None:
    """A plan names each partition of a check, and each has an outcome; in older plans one stands for all."""
    checks = tuple(PlanItem("a", day, "c", "s", "check") for day in DAYS)
    events = [START, *(replace(_checked("passed"), partition=day) for day in evaluated), END, SUCCEEDED]
    found = derive_outcomes([*_planned(Plan(checks, {})), *events])
    passed = {o.item.partition for o in found if o.verdict == "passed"}
    assert passed == (set(DAYS) if None in evaluated else set(evaluated))
    assert {o.reason_code for o in found if o.verdict != "passed"} <= {"no_output"}

    assets = tuple(PlanItem("a", day, step_key="s") for day in DAYS)
    old = derive_outcomes([*_planned(Plan((*assets, PlanItem("a", None, "c", "s", "check")), {})), *events])
    (check,) = (o for o in old if o.item.kind == "check")
    assert (check.verdict == "passed") == (None in evaluated or set(evaluated) == set(DAYS))
    if check.verdict != "passed":
        assert (check.outcome, check.reason_code) == ("not_evaluated", "partitions_not_evaluated")
        assert DAYS[2] in str(check.reason)


def test_what_nobody_planned_is_told_as_not_planned() -> None:
    """A failed check and a materialization that no plan names are items of their own; an observation is none."""
    plan = Plan((PlanItem("a", "2026-04-17", step_key="s"), PlanItem("b", step_key="s", required=False)), {})
    events = [
        *(START, MADE, OTHER_CHECK_PASSED, OBSERVED, END),
        _event(
            "check.evaluated.v1", "s", asset_key="b", check_name="c", outcome="failed", reason_code="check_failed"
        ),
        _event("asset.materialized.v1", "s", asset_key="a", partition="2026-04-18"),
        _event("asset.materialized.v1", "s", asset_key="x"),
        SUCCEEDED,
    ]
    found = [o for o in derive_outcomes([*_planned(plan), *events]) if not o.planned]
    assert [(o.item.asset_key, o.item.partition, o.item.check_name, o.outcome, o.item.required) for o in found] == [
        ("a", None, "d", "check_passed", True),
        ("a", "2026-04-18", None, "materialized", True),
        ("b", None, "c", "check_failed", False),
        ("x", None, None, "materialized", True),
    ]
    told = [entry for part in outcome_parts(found, 1) for entry in part["outcomes"]]  # type: ignore[union-attr]
    assert all(entry["planned"] is False for entry in told)  # type: ignore[index, call-overload]


DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("length", [0, 100, 299, 300, 500, 1_900, 2_100, 10_000, 100_000])
def test_a_reason_keeps_both_ends_and_no_half_of_a_word(length: int) -> None:
    """What a command was called with begins its error, what went wrong ends it; what is left out has a mark."""
    words = [f"{DIGEST[:60]}{number:04d}" for number in range(length // 65)]
    message = " ".join(["Command", *words, "returned non-zero exit status 3:", DIGEST])
    failed = replace(FAILED, data={"error": {"message": "op", "cause": {"message": message}}})
    (outcome,) = derive_outcomes([*_planned(Plan((ASSET,), {})), START, failed, BROKE])
    (part,) = outcome_parts([outcome], 1)
    (recorded,) = part["outcomes"]
    reason = recorded["reason"]
    assert reason.startswith("Command")
    assert reason.endswith(f"returned non-zero exit status 3: {DIGEST}")
    assert len(reason) <= 2_000
    assert ("…" in reason) == (len(message) > 2_000)
    assert set(reason.split()) - {"…"} <= set(message.split())


def test_two_findings_of_a_check_are_both_recorded() -> None:
    """A reason that names two digests names both, whole."""
    text = f"row 1 has {DIGEST}, expected {DIGEST[::-1]}; " * 3
    (outcome,) = derive_outcomes(
        [*_planned(Plan((CHECK,), {})), START, _checked("failed", data={"description": text})]
    )
    (recorded,) = outcome_parts([outcome], 1)[0]["outcomes"]
    assert recorded["reason"] == text
