"""A run's verdict: its outcomes folded into one word of the closed lattice, with the denominators.

The fold only ever makes things worse: a run is `passed` when every required item is, and nothing else. What
the policy lets be missing does not lower the verdict, and it is counted and named all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from run_evidence.evidence.corrections import Correction
from run_evidence.ledger import NO_ASSET, OUTCOMES, Outcome

COUNTED_AS: Final[Mapping[str, str]] = {
    "materialized": "passed",
    "materialized_with_warning": "warned",
    "observed": "passed",
    "check_passed": "passed",
    "check_warned": "warned",
    "check_failed": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_skipped": "skipped",
    "check_skipped": "skipped",
    "not_available": "not_available",
    "upstream_failed": "never_ran",
    "canceled": "canceled",
    "not_started": "never_ran",
    "not_produced": "not_produced",
    "not_evaluated": "not_evaluated",
    "lost": "unknown",
    "unknown": "unknown",
    "pending": "pending",
}
"""Every outcome and the one heading it is counted under; one canceled before its step started never ran."""

HEADINGS: Final = tuple(dict.fromkeys(COUNTED_AS.values()))

_REASON_CHARS: Final = 200
"""What a verdict quotes of an item's reason; the item has it whole."""

LEFT_OUT: Final = frozenset({"skipped", "not_available"})
"""Verdicts of what did not run although nothing went wrong: somebody left it out, or it was not there."""

_FOLLOWING: Final = frozenset(
    {"upstream_failed", "upstream_skipped", "not_evaluated", "not_produced", "not_started", "canceled"}
)
_NOTHING_TO_CHECK: Final = frozenset({"no_output", "upstream_skipped"})


@dataclass(frozen=True, slots=True)
class Denominators:
    """How many items were planned, and how many came under each of `HEADINGS`; these add up to `planned`.

    `unplanned` counts what was produced or checked without being planned, under the same headings.
    """

    planned: int
    counts: Mapping[str, int]
    unplanned: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """Say it in one sentence: "7 of 9 planned passed, 2 not available; not planned: 1 failed"."""
        rest = _counted(self.counts)
        passed = self.counts["passed"]
        parts = [f"{passed} of {self.planned} planned passed", *(rest[1:] if passed else rest)]
        sentence = ", ".join(parts) if self.planned else "nothing planned"
        beside = _counted(self.unplanned)
        return f"{sentence}; not planned: {', '.join(beside)}" if beside else sentence


def _counted(counts: Mapping[str, int]) -> list[str]:
    return [f"{n} {heading.replace('_', ' ')}" for heading, n in counts.items() if n]


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """The verdict on a run. Everything but `passed` has a reason; `absent` are the optional items left out.

    `corrections` are of events it rests on; it is as it was derived, without them.
    """

    verdict: str
    reason_code: str | None
    reason: str | None
    denominators: Denominators
    absent: tuple[Outcome, ...]
    corrections: tuple[Correction, ...] = ()


def count(outcomes: Sequence[Outcome]) -> Denominators:
    """Count outcomes under their headings, those of items that were not planned apart."""
    found = Counter((outcome.planned, _heading(outcome)) for outcome in outcomes)
    planned = {heading: found[True, heading] for heading in HEADINGS}
    return Denominators(sum(planned.values()), planned, {heading: found[False, heading] for heading in HEADINGS})


def _heading(outcome: Outcome) -> str:
    started = outcome.outcome != "canceled" or outcome.attempts > 0
    return COUNTED_AS[outcome.outcome] if started else "never_ran"


def judge(
    outcomes: Sequence[Outcome],
    *,
    status: str,
    closed: bool,
    corrections: Sequence[Correction] = (),
    derived_in: Collection[str] = (),
) -> RunVerdict:
    """Fold a run's outcomes into its verdict.

    `status` is what Dagster's log says of the run (queued, running, succeeded, failed, canceled). A run that
    is open is `unknown`, because more events may follow. So is a run that planned nothing, unless
    it failed; an optional dependency is declared by the policy and was not planned by the run itself. Of the run's
    `corrections` the verdict takes those of its outcomes' basis, and of the events the outcomes were `derived_in`.
    """
    basis = {event_id for outcome in outcomes for event_id in outcome.basis}.union(derived_in)
    absent = tuple(o for o in outcomes if not o.item.required and o.verdict in LEFT_OUT)
    verdict, reason_code, reason = _fold(outcomes, status, closed=closed)
    corrected = tuple(c for c in corrections if c.target_event_id in basis)
    return RunVerdict(verdict, reason_code, reason, count(outcomes), absent, corrected)


_Judgement = tuple[str, str | None, str | None]


def _fold(outcomes: Sequence[Outcome], status: str, *, closed: bool) -> _Judgement:
    if not closed:
        return "unknown", "run_not_closed", _why_open(status)
    weighed = weigh(outcomes)
    worst = max((weight for weight, _ in weighed), key=OUTCOMES.index, default="passed")
    broken = status != "succeeded" and not _explained_by_optional(outcomes, status, worst)
    if worst != "failed" and not broken and not any(map(_set_out_by_run, outcomes)):
        return "unknown", "nothing_planned", "the run planned no asset and no check, so nothing can be judged"
    if worst == "passed" and not broken:
        return _PASSED
    if worst in {"passed", "warned"} and broken:  # a warning is no reason for a run to fail
        return "failed", f"run_{status}", f"Dagster says the run {_AS_SAID[status]}"
    first, *others = sorted((o for weight, o in weighed if weight == worst), key=_follows)
    more = f" (and {len(others)} more)" if others else ""
    reason = f"{item_name(first)}: {_words(first)}{more}"
    return ("failed" if broken else worst), first.reason_code or first.outcome, reason


def _set_out_by_run(outcome: Outcome) -> bool:
    """Tell what the run itself planned from what only the policy names, which every run has."""
    return outcome.planned and outcome.item.kind != "dependency"


_PASSED: Final[_Judgement] = ("passed", None, None)
_AS_SAID: Final = {
    "failed": "failed",
    "canceled": "was canceled",
    "queued": "is waiting to start",
    "running": "is still running",
}


def _follows(outcome: Outcome) -> bool:
    """Tell an outcome that follows from another item's, which explains more and is named first."""
    return outcome.outcome in _FOLLOWING


def _words(outcome: Outcome) -> str:
    said = {"check_warned": "did not pass, a warning", "check_failed": "did not pass"}.get(outcome.outcome)
    words = said or " ".join((outcome.reason or "").split()) or outcome.outcome.replace("_", " ")
    if len(words) <= _REASON_CHARS:
        return words
    half = (
        _REASON_CHARS - 3
    ) // 2  # what failed stands at the beginning of a command's message, and why at its end
    return f"{words[:half]} … {words[-half:]}"


def _why_open(status: str) -> str:
    if status in {"queued", "running"}:
        return f"the run {_AS_SAID[status]}; its verdict is given when it has ended and was read whole"
    return f"the run has ended ({status}) and is not closed: its log is read once more after a grace period"


def _explained_by_optional(outcomes: Sequence[Outcome], status: str, worst: str) -> bool:
    """Tell whether Dagster failed the run over an optional item alone, which warns and does not fail."""
    failed = any((o.outcome, o.reason_code) == ("failed", "step_failed") for o in outcomes if o.planned)
    return status == "failed" and worst == "warned" and failed


def by_gravity(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Order outcomes by what they weigh, the worst first; of equals, causes before what follows from them."""
    weighed = sorted(weigh(outcomes), key=lambda each: (-OUTCOMES.index(each[0]), _follows(each[1])))
    return [outcome for _, outcome in weighed]


def weigh(outcomes: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """Return how much each outcome counts against the whole, as a verdict, in the order given.

    An optional item weighs nothing when it was left out and warns when it went wrong. What nobody planned
    weighs nothing when it was left out, and else its own verdict. A check of an asset that was itself left out
    had nothing to evaluate: it weighs as much as its asset.
    """
    of_asset: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.item.kind != "check":
            of_asset.setdefault(outcome.item.asset_key, []).append(outcome)
    return [(_weight(outcome, of_asset.get(outcome.item.asset_key, [])), outcome) for outcome in outcomes]


def _weight(outcome: Outcome, of_asset: Sequence[Outcome]) -> str:
    verdict = outcome.verdict
    if had_nothing_to_check(outcome, of_asset):
        verdict = max((asset.verdict for asset in _checked(outcome, of_asset)), key=OUTCOMES.index)
    if (outcome.item.required and outcome.planned) or verdict == "passed":
        return verdict
    if verdict in LEFT_OUT:
        return "passed"
    return verdict if outcome.item.required else "warned"


def had_nothing_to_check(outcome: Outcome, of_asset: Sequence[Outcome]) -> bool:
    """Tell a check that could not be evaluated because what it checks was left out in every planned partition."""
    if outcome.outcome != "not_evaluated" or outcome.reason_code not in _NOTHING_TO_CHECK:
        return False
    checked = _checked(outcome, of_asset)
    return bool(checked) and all(asset.verdict in LEFT_OUT for asset in checked)


def _checked(check: Outcome, of_asset: Sequence[Outcome]) -> list[Outcome]:
    """Return what a check is of: its asset in its partition, or in all where either has none."""
    partition = check.item.partition
    return [asset for asset in of_asset if partition is None or asset.item.partition in {None, partition}]


def item_name(outcome: Outcome, within: str | None = None) -> str:
    """Name an item for a person: its asset, or check and asset, and its partition unless it is `within` that."""
    item = outcome.item
    of_asset = f" of {item.asset_key}" if item.asset_key != NO_ASSET else ""
    name = f"check {item.check_name}{of_asset}" if item.check_name is not None else item.asset_key
    return name if item.partition in {None, within} else f"{name} [{item.partition}]"
