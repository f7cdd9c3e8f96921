"""A plan of any size travels in events that SQL can see, and comes back whole."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.model.canonical import bounded, canonical
from run_evidence.ledger.model.event import MAX_DATA_BYTES, encode
from run_evidence.ledger.model.outcomes import RunEvent, derive_outcomes, outcome_parts
from run_evidence.ledger.model.plan import Kind, Plan, PlanItem, ancestors, plan_parts, read_plan
from tests.ledger.samples import NOON, own, texts

KINDS: tuple[Kind, ...] = ("materialize", "observe", "check", "dependency")

items = st.builds(
    PlanItem,
    asset_key=texts,
    partition=st.none() | texts,
    check_name=st.none() | texts,
    step_key=st.none() | texts,
    kind=st.sampled_from(KINDS),
    required=st.booleans(),
    reason_code=st.none() | texts,
    reason=st.none() | texts,
)
plans = st.builds(
    Plan,
    st.lists(items, max_size=30, unique_by=lambda i: (i.asset_key, i.partition, i.check_name)).map(tuple),
    st.dictionaries(texts, st.lists(texts, unique=True, max_size=5).map(tuple), max_size=10),
)


def _same(one: Plan, other: Plan) -> bool:
    return (set(one.items), len(one.items), dict(one.after)) == (
        set(other.items),
        len(other.items),
        dict(other.after),
    )


@given(plans, st.randoms(use_true_random=False))
def test_a_plan_comes_back_from_its_parts_in_any_order_and_number(plan: Plan, random: random.Random) -> None:
    """Parts are payloads of events, which may be read in another order or twice."""
    parts = list(plan_parts(plan))
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert {part["parts"] for part in parts} == {len(parts)}
    told = parts + random.choices(parts, k=2)
    random.shuffle(told)
    assert _same(read_plan(told), plan)


@pytest.mark.parametrize(
    ("count", "key"),
    [(0, "a"), (1, "a"), (61, "k" * 400), (500, "数" * 300), (10_000, "week06/asset"), (10_000, "\x07" * 100)],
    ids=range(6),
)
def test_every_part_fits_an_entry(count: int, key: str) -> None:
    """However many items, however long or strange their keys, no part is moved beside the log."""
    steps = [f"{key}_{n}" for n in range(count)]
    plan = Plan(
        tuple(PlanItem(f"{key}_{n}", "2026-04-17", step_key=steps[n], reason=key) for n in range(count)),
        {step: (steps[n - 1],) if n else () for n, step in enumerate(steps)},
    )
    parts = list(plan_parts(plan))
    for part in parts:
        assert len(canonical(bounded(part))) <= MAX_DATA_BYTES
        assert encode(own("plan.committed.v1", data=part), NOON).blob is None
    assert _same(read_plan(parts), plan)


def test_a_step_that_waits_for_thousands_is_told_in_parts_too() -> None:
    """A gather step's upstream list alone can be larger than an entry."""
    upstream = tuple(f"week06_silver_ticket_fact_partitioned_{n}" for n in range(10_000))
    parts = list(plan_parts(Plan((), {"gather": upstream, "alone": ()})))
    assert len(parts) > 1
    assert all(len(canonical(part)) <= MAX_DATA_BYTES for part in parts)
    assert read_plan(parts).after == {"gather": upstream, "alone": ()}


def test_a_key_too_long_for_any_event_is_refused_by_name() -> None:
    """Nothing is cut off silently: an item that cannot be recorded is an error that says which."""
    with pytest.raises(UsageError, match="does not fit an event's data"):
        list(plan_parts(Plan((PlanItem("k" * MAX_DATA_BYTES),), {})))


def test_an_item_that_two_plans_hold_is_one_item() -> None:
    """Of two captures that raced, the one that knew the step and saw it planned counts, in either order."""
    vague = PlanItem("a", kind="dependency", required=False, reason_code="not_there")
    named = PlanItem("a", step_key="make_a")
    first, second = list(plan_parts(Plan((vague,), {}))), list(plan_parts(Plan((named,), {})))
    assert read_plan([*first, *second]).items == read_plan([*second, *first]).items == (named,)


def test_no_partition_is_not_the_empty_partition() -> None:
    """Absent and empty are two things."""
    plan = Plan((PlanItem("a"), PlanItem("a", ""), PlanItem("a", check_name="")), {})
    assert _same(read_plan(plan_parts(plan)), plan)


@given(
    st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13), st.integers(0, 12)
)
def test_ancestors_are_everything_upstream_once(graph: dict[int, list[int]], start: int) -> None:
    """Found nearest first, also in a graph with cycles, which no real plan has."""
    after = {str(key): tuple(map(str, upstream)) for key, upstream in graph.items()}
    reached: set[str] = set()
    edge = {str(start)}
    while edge:
        edge = {u for key in edge for u in after.get(key, ())} - reached - {str(start)}
        reached |= edge
    found = list(ancestors(after, str(start)))
    assert set(found) == reached
    assert len(found) == len(set(found))


@pytest.mark.parametrize("key", ["week06/asset", "数" * 200, "\x07" * 300], ids=range(3))
def test_outcomes_of_any_number_fit_their_entries(key: str) -> None:
    """The outcomes of 3,000 items are recorded in parts that SQL can see, each item once."""
    plan = Plan(tuple(PlanItem(f"{key}_{n}", step_key=f"s{n}") for n in range(3_000)), {})
    events = [
        RunEvent(event_id="e", event_type="plan.committed.v1", occurred_at=NOON, data=part)
        for part in plan_parts(plan)
    ]
    failed = RunEvent(
        event_id="f" * 36,
        event_type="run.failed.v1",
        occurred_at=NOON,
        data={"message": "\x07" * 10_000},
    )
    parts = outcome_parts(derive_outcomes([*events, failed]), 1)
    told = [outcome["asset_key"] for part in parts for outcome in part["outcomes"]]  # type: ignore[union-attr,index,call-overload]
    assert sorted(told) == sorted(item.asset_key for item in plan.items)  # type: ignore[type-var]
    assert all(len(canonical(bounded(part))) <= MAX_DATA_BYTES for part in parts)
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))


def test_a_run_without_outcomes_still_says_so() -> None:
    """Nothing planned is recorded as one empty part, not as no part at all."""
    assert outcome_parts((), 3) == [{"revision": 3, "part": 1, "parts": 1, "outcomes": []}]
