"""The fold of outcomes into a verdict: what it never does, and what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.evidence.verdict import COUNTED_AS, HEADINGS, by_gravity, count, item_name, judge, weigh
from run_evidence.ledger.model.event import OUTCOMES
from run_evidence.ledger.model.outcomes import VERDICT_OF, Outcome
from run_evidence.ledger.model.plan import Kind, PlanItem

STATUSES = ("queued", "running", "succeeded", "failed", "canceled")
KEYS = st.sampled_from(["a", "b", "week06/c"])
WORDS = st.sampled_from(sorted(VERDICT_OF))


def outcome_of(
    word: str,
    key: str = "a",
    *,
    check: str | None = None,
    required: bool = True,
    code: str | None = None,
    partition: str | None = None,
    planned: bool = True,
    attempts: int = 1,
    kind: Kind = "materialize",
) -> Outcome:
    """Make an outcome; everything but what passed has a reason code."""
    kind = "check" if check else kind
    item = PlanItem(key, partition, check_name=check, kind=kind, required=required)
    given_code = code or (None if VERDICT_OF[word] == "passed" else f"because_{word}")
    return Outcome(
        item=item, outcome=word, reason_code=given_code, reason=None, basis=(), attempts=attempts, planned=planned
    )


CODES = st.sampled_from([None, "no_output", "upstream_skipped", "check_crashed", "step_failed"])
_MORE = {
    "required": st.booleans(),
    "planned": st.booleans(),
    "attempts": st.integers(0, 2),
    "partition": st.sampled_from([None, "p1", "p2"]),
}
DEPENDENCIES = st.builds(outcome_of, WORDS, KEYS, kind=st.just("dependency"), required=st.just(False))
ASSETS = st.builds(outcome_of, WORDS, KEYS, **_MORE)
CHECKS = st.builds(outcome_of, WORDS, KEYS, check=st.just("c"), code=CODES, **_MORE)
RUNS = st.lists(ASSETS | CHECKS | DEPENDENCIES, max_size=12)


def test_the_lattice_is_the_closed_one() -> None:
    """The verdicts are those an event may state, and each outcome has a verdict and one heading."""
    assert COUNTED_AS.keys() == VERDICT_OF.keys()
    assert set(VERDICT_OF.values()) <= set(OUTCOMES)


@given(RUNS, st.sampled_from(STATUSES), st.booleans())
def test_counts_add_up_to_what_was_planned(outcomes: list[Outcome], status: str, closed: bool) -> None:
    """Nothing drops out of a total: the headings add up, and so do the numbers in the sentence."""
    denominators = judge(outcomes, status=status, closed=closed).denominators
    assert tuple(denominators.counts) == tuple(denominators.unplanned) == HEADINGS
    planned = sum(o.planned for o in outcomes)
    assert sum(denominators.counts.values()) == denominators.planned == planned
    assert sum(denominators.unplanned.values()) == len(outcomes) - planned
    of_plan, _, beside = denominators.sentence.partition("; not planned: ")
    assert sum(map(int, re.findall(r"\d+", beside))) == len(outcomes) - planned
    if planned:
        passed, total, *others = map(int, re.findall(r"\d+", of_plan))
        assert passed + sum(others) == total == planned
        assert " 0 " not in denominators.sentence


@given(RUNS, st.sampled_from(STATUSES), st.booleans())
def test_a_whole_is_passed_only_when_every_required_part_is(
    outcomes: list[Outcome], status: str, closed: bool
) -> None:
    """Passed means closed, succeeded, something planned, every required item passed, no optional one wrong."""
    if judge(outcomes, status=status, closed=closed).verdict == "passed":
        assert closed
        assert status == "succeeded"
        assert any(o.planned and o.item.kind != "dependency" for o in outcomes)
        assert all(o.verdict == "passed" for o in outcomes if o.item.required and o.planned)
        assert all(o.verdict in {"passed", "skipped", "not_available"} for o in outcomes if not o.planned)
        assert all(o.outcome not in {"failed", "check_failed", "lost", "pending"} for o in outcomes)


@given(st.lists(st.builds(outcome_of, st.sampled_from(["materialized", "observed"]), KEYS), min_size=1))
def test_a_run_in_which_all_passed_is_passed(outcomes: list[Outcome]) -> None:
    """The fold is not vacuous: it does say passed."""
    assert judge(outcomes, status="succeeded", closed=True).verdict == "passed"


@given(RUNS, st.sampled_from(STATUSES), st.booleans())
def test_everything_but_passed_has_a_reason(outcomes: list[Outcome], status: str, closed: bool) -> None:
    """A verdict that is not passed carries a code and words; a passed one carries neither."""
    verdict = judge(outcomes, status=status, closed=closed)
    assert bool(verdict.reason_code) == bool(verdict.reason) == (verdict.verdict != "passed")


@given(RUNS, st.sampled_from(STATUSES))
def test_an_open_run_is_unknown(outcomes: list[Outcome], status: str) -> None:
    """Until a run is closed its verdict is unknown, whatever it has done so far."""
    verdict = judge(outcomes, status=status, closed=False)
    assert (verdict.verdict, verdict.reason_code) == ("unknown", "run_not_closed")


@given(RUNS, st.sampled_from(["failed", "canceled"]))
def test_a_run_that_dagster_calls_failed_is_never_passed(outcomes: list[Outcome], status: str) -> None:
    """Even if every item passed, something went wrong that no item shows."""
    verdict = judge(outcomes, status=status, closed=True).verdict
    assert verdict in {"failed", "warned"}
    if verdict == "warned":
        assert status == "failed"
        assert any(o.reason_code == "step_failed" and not o.item.required for o in outcomes)


@given(st.lists(ASSETS, min_size=1, max_size=8), st.integers(min_value=0), WORDS)
def test_a_worse_part_never_makes_a_better_whole(outcomes: list[Outcome], at: int, word: str) -> None:
    """The fold is monotone: replacing a required item by a worse one cannot raise the verdict."""
    at %= len(outcomes)
    key = outcomes[at].item.asset_key
    better, worse = sorted([outcomes[at].outcome, word], key=lambda w: OUTCOMES.index(VERDICT_OF[w]))
    whole = [
        judge([*outcomes[:at], outcome_of(w, key), *outcomes[at + 1 :]], status="succeeded", closed=True).verdict
        for w in (better, worse)
    ]
    assert OUTCOMES.index(whole[0]) <= OUTCOMES.index(whole[1])


@given(RUNS)
def test_optional_absences_are_counted_and_named(outcomes: list[Outcome]) -> None:
    """What the policy lets be missing is named, item by item, and stays in the total."""
    absent = judge(outcomes, status="succeeded", closed=True).absent
    expected = [o for o in outcomes if not o.item.required and o.verdict in {"skipped", "not_available"}]
    assert list(absent) == expected


@given(RUNS)
def test_gravity_orders_without_losing_anything(outcomes: list[Outcome]) -> None:
    """Ordering by gravity keeps every item and puts what weighs more first."""
    ordered = by_gravity(outcomes)
    assert sorted(map(id, ordered)) == sorted(map(id, outcomes))
    weight_of = {id(o): OUTCOMES.index(w) for w, o in weigh(outcomes)}
    weights = [weight_of[id(o)] for o in ordered]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("word", ["skipped", "not_available"])
def test_an_optional_item_left_out_does_not_lower_the_verdict(word: str) -> None:
    """Week04 not there: the run passes, and the sentence says what is missing."""
    verdict = judge(
        [outcome_of("materialized"), outcome_of(word, "b", required=False)], status="succeeded", closed=True
    )
    assert verdict.verdict == "passed"
    assert verdict.denominators.sentence == f"1 of 2 planned passed, 1 {word.replace('_', ' ')}"


def test_an_optional_item_that_fails_warns() -> None:
    """It was tried and went wrong: the run is not failed over it, even where Dagster says so, nor passed."""
    outcomes = [outcome_of("materialized"), outcome_of("failed", "b", required=False, code="step_failed")]
    for status in ("succeeded", "failed"):
        verdict = judge(outcomes, status=status, closed=True)
        assert (verdict.verdict, verdict.reason_code) == ("warned", "step_failed")
    stated = [outcome_of("materialized"), outcome_of("failed", "b", required=False, code="ticket_ingest_errors")]
    assert judge(stated, status="failed", closed=True).verdict == "failed"  # that did not fail Dagster's run
    assert judge(outcomes, status="canceled", closed=True).verdict == "failed"


def test_a_run_that_planned_nothing_is_unknown_and_one_that_failed_is_failed() -> None:
    """That a task succeeded does not make anything ready; that it failed is known."""
    assert judge([], status="succeeded", closed=True).reason_code == "nothing_planned"
    assert judge([], status="succeeded", closed=True).verdict == "unknown"
    assert judge([], status="succeeded", closed=True).denominators.sentence == "nothing planned"
    assert judge([], status="failed", closed=True).verdict == "failed"


def test_a_check_of_what_was_left_out_weighs_what_its_asset_does() -> None:
    """A dry run's checks had nothing to evaluate: the run is skipped; a check that crashed is not excused."""
    asset = outcome_of("skipped")
    check = outcome_of("not_evaluated", check="c", code="upstream_skipped")
    assert judge([asset, check], status="succeeded", closed=True).verdict == "skipped"
    crashed = outcome_of("not_evaluated", check="c", code="check_crashed")
    assert judge([asset, crashed], status="succeeded", closed=True).verdict == "not_evaluated"
    assert judge([outcome_of("materialized"), check], status="succeeded", closed=True).verdict == "not_evaluated"


def test_the_sentence_names_every_heading() -> None:
    """Counts under different outcomes of one heading are one number, and the words are plain."""
    words = [
        "materialized",
        "observed",
        "check_failed",
        "skipped",
        "upstream_skipped",
        "canceled",
        "lost",
        "pending",
    ]
    assert count([outcome_of(word) for word in words]).sentence == (
        "2 of 8 planned passed, 1 failed, 2 skipped, 1 canceled, 1 unknown, 1 pending"
    )


def test_what_was_canceled_before_it_started_never_ran() -> None:
    """A step that had started ran; one whose turn had not come did not."""
    canceled = [outcome_of("canceled"), outcome_of("canceled", "b", attempts=0)]
    assert count(canceled).sentence == "0 of 2 planned passed, 1 never ran, 1 canceled"


@pytest.mark.parametrize(
    ("word", "verdict"),
    [("check_failed", "failed"), ("check_warned", "warned"), ("check_passed", "passed")],
)
def test_a_check_that_nobody_planned_counts(word: str, verdict: str) -> None:
    """What was evaluated weighs its verdict, and is counted apart from the plan."""
    made = [outcome_of("materialized"), outcome_of(word, check="c", planned=False)]
    judged = judge(made, status="succeeded", closed=True)
    assert judged.verdict == verdict
    heading = word.removeprefix("check_")
    assert judged.denominators.sentence == f"1 of 1 planned passed; not planned: 1 {heading}"


@pytest.mark.parametrize("word", ["materialized", "check_passed", "skipped", "not_available", "check_skipped"])
def test_what_nobody_planned_makes_no_run_passed(word: str) -> None:
    """A run without a plan is unknown, whatever it brought along; left out beside a plan it weighs nothing."""
    beside = outcome_of(word, "b", check="c" if word.startswith("check") else None, planned=False)
    alone = judge([beside], status="succeeded", closed=True)
    assert (alone.verdict, alone.reason_code) == ("unknown", "nothing_planned")
    assert alone.denominators.sentence.startswith("nothing planned; not planned: 1 ")
    assert judge([outcome_of("materialized"), beside], status="succeeded", closed=True).verdict == "passed"


@given(st.lists(DEPENDENCIES, max_size=4), st.sampled_from(STATUSES))
def test_what_only_the_policy_names_makes_no_run_passed(outcomes: list[Outcome], status: str) -> None:
    """Every run has the policy's optional dependencies in its plan: one with nothing else planned nothing."""
    judged = judge(outcomes, status=status, closed=True)
    succeeded = status == "succeeded"
    assert judged.verdict == ("unknown" if succeeded else "failed")
    assert (judged.reason_code == "nothing_planned") == succeeded


@given(RUNS, st.sampled_from(STATUSES), st.booleans(), ASSETS | CHECKS)
def test_what_came_unplanned_never_makes_a_better_whole(
    outcomes: list[Outcome], status: str, closed: bool, more: Outcome
) -> None:
    """An item that nobody planned can lower the verdict and cannot raise it."""
    more = replace(more, planned=False, item=replace(more.item, asset_key="elsewhere"))
    before, after = (judge(each, status=status, closed=closed).verdict for each in (outcomes, [*outcomes, more]))
    assert OUTCOMES.index(after) >= OUTCOMES.index(before)


def test_a_check_of_a_partition_that_was_left_out_weighs_what_that_partition_does() -> None:
    """Of two partitions one was made: the check of the other had nothing to evaluate."""
    made, left = outcome_of("materialized", partition="p1"), outcome_of("skipped", partition="p2")
    checks = [
        outcome_of("check_passed", check="c", partition="p1"),
        outcome_of("not_evaluated", check="c", partition="p2", code="no_output"),
    ]
    assert judge([made, left, *checks], status="succeeded", closed=True).verdict == "skipped"


@pytest.mark.parametrize("within", [None, "p1", "p1..p9 (9)"])
def test_an_item_is_named_with_its_partition_where_the_run_has_several(within: str | None) -> None:
    """An item without a partition and the last of ten never look alike; a check is named as its asset is."""
    names = {
        item_name(outcome_of("materialized", check=check, partition=partition), within)
        for check in (None, "c")
        for partition in (None, "p2", "p9")
    }
    assert len(names) == 6
    assert "check c of a [p9]" in names
    assert count([outcome_of("failed")]).sentence == "0 of 1 planned passed, 1 failed"


@pytest.mark.parametrize("planned", [False, True])
def test_a_warning_is_no_reason_for_a_run_that_failed(planned: bool) -> None:
    """What Dagster says of the run is the reason, where no item explains it."""
    for words in (["check_warned"], ["materialized", "materialized_with_warning"]):
        outcomes = [outcome_of(word, str(n), planned=planned) for n, word in enumerate(words)]
        verdict = judge(outcomes, status="failed", closed=True)
        assert (verdict.verdict, verdict.reason_code) == ("failed", "run_failed")
