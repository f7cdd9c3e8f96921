"""A run's verdict: its outcomes folded into one word of the closed lattice, with the denominators.

The fold only ever makes things worse: a run is `passed` when every required item is, and nothing else. What
the policy lets be missing does not lower the verdict, and it is counted and named all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evidence.corrections import Correction
from ledger.outcomes import Outcome

LATTICE: Final = ("passed", "warned", "skipped", "not_available", "not_evaluated", "unknown", "failed")
"""The verdicts from best to worst; a whole is as bad as the worst of its parts."""

COUNTED_AS: Final[Mapping[str, str]] = {
    "materialized": "passed",
    "observed": "passed",
    "check_passed": "passed",
    "check_warned": "warned",
    "check_failed": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_skipped": "skipped",
    "not_available": "not_available",
    "upstream_failed": "never_ran",
    "canceled": "never_ran",
    "not_started": "never_ran",
    "not_evaluated": "not_evaluated",
    "lost": "unknown",
    "pending": "pending",
}
"""Every outcome and the one heading it is counted under."""

HEADINGS: Final = tuple(dict.fromkeys(COUNTED_AS.values()))

_REASON_CHARS: Final = 200
"""What a verdict quotes of an item's reason; the item has it whole."""

_LEFT_OUT: Final = frozenset({"skipped", "not_available"})
_NOTHING_TO_CHECK: Final = frozenset({"no_output", "upstream_skipped"})


@dataclass(frozen=True, slots=True)
class Denominators:
    """How many items were planned, and how many came under each of `HEADINGS`; these add up to `planned`."""

    planned: int
    counts: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """Say it in one sentence: "7 of 9 planned passed, 2 not available"."""
        if not self.planned:
            return "nothing planned"
        rest = [f"{n} {heading.replace('_', ' ')}" for heading, n in self.counts.items() if n]
        passed = self.counts["passed"]
        return ", ".join([f"{passed} of {self.planned} planned passed", *(rest[1:] if passed else rest)])


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What a run comes to. Everything but `passed` has a reason; `absent` are the optional items left out.

    `corrections` are of events it rests on; it is as it was derived, without them.
    """

    verdict: str
    reason_code: str | None
    reason: str | None
    denominators: Denominators
    absent: tuple[Outcome, ...]
    corrections: tuple[Correction, ...] = ()


def count(outcomes: Sequence[Outcome]) -> Denominators:
    """Count outcomes under their headings."""
    found = Counter(COUNTED_AS[outcome.outcome] for outcome in outcomes)
    return Denominators(len(outcomes), {heading: found[heading] for heading in HEADINGS})


def judge(
    outcomes: Sequence[Outcome],
    *,
    status: str,
    closed: bool,
    corrections: Sequence[Correction] = (),
    derived_in: Collection[str] = (),
) -> RunVerdict:
    """Fold a run's outcomes, one for each planned item, into its verdict.

    `status` is what Dagster's log says of the run (queued, running, succeeded, failed, canceled). A run that
    is open is `unknown`, because nobody knows yet what it comes to. So is a run that planned nothing, unless
    it failed. Of the run's `corrections` the verdict takes those of its outcomes' basis, and of the events the
    outcomes were `derived_in`.
    """
    basis = {event_id for outcome in outcomes for event_id in outcome.basis}.union(derived_in)
    absent = tuple(o for o in outcomes if not o.item.required and o.verdict in _LEFT_OUT)
    verdict, reason_code, reason = _fold(outcomes, status, closed=closed)
    corrected = tuple(c for c in corrections if c.target_event_id in basis)
    return RunVerdict(verdict, reason_code, reason, count(outcomes), absent, corrected)


_Judgement = tuple[str, str | None, str | None]


def _fold(outcomes: Sequence[Outcome], status: str, *, closed: bool) -> _Judgement:
    if not closed:
        return "unknown", "run_not_closed", _why_open(status)
    weighed = weigh(outcomes)
    worst = max((weight for weight, _ in weighed), key=LATTICE.index, default="passed")
    broken = status != "succeeded" and not _explained_by_optional(outcomes, status, worst)
    if not outcomes and not broken:
        return "unknown", "nothing_planned", "the run planned no asset and no check, so nothing can be judged"
    if worst == "passed":
        return ("failed", f"run_{status}", f"Dagster says the run {_AS_SAID[status]}") if broken else _PASSED
    first, *others = sorted((o for weight, o in weighed if weight == worst), key=_follows)
    more = f" (and {len(others)} more)" if others else ""
    reason = f"{item_name(first)}: {_words(first)}{more}"
    return ("failed" if broken else worst), first.reason_code or first.outcome, reason


_PASSED: Final[_Judgement] = ("passed", None, None)
_AS_SAID: Final = {
    "failed": "failed",
    "canceled": "was canceled",
    "queued": "is waiting to start",
    "running": "is still going on",
}


def _follows(outcome: Outcome) -> bool:
    """Tell an outcome that follows from another item's, which explains more and is told first."""
    return outcome.outcome in {"upstream_failed", "upstream_skipped", "not_evaluated", "not_started", "canceled"}


def _words(outcome: Outcome) -> str:
    said = {"check_warned": "did not pass, a warning", "check_failed": "did not pass"}.get(outcome.outcome)
    words = said or (outcome.reason or "").strip().partition("\n")[0] or outcome.outcome.replace("_", " ")
    return words if len(words) <= _REASON_CHARS else f"{words[:_REASON_CHARS]}…"


def _why_open(status: str) -> str:
    if status in {"queued", "running"}:
        return f"the run {_AS_SAID[status]}; its verdict is given when it has ended and was read whole"
    return f"the run has ended ({status}) and is not closed: its log is read once more after a grace period"


def _explained_by_optional(outcomes: Sequence[Outcome], status: str, worst: str) -> bool:
    """Tell whether Dagster failed the run over an optional item alone, which warns and does not fail."""
    return status == "failed" and worst == "warned" and any(o.outcome == "failed" for o in outcomes)


def by_gravity(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Order outcomes by what they weigh, the worst first; of equals, causes before what follows from them."""
    weighed = sorted(weigh(outcomes), key=lambda each: (-LATTICE.index(each[0]), _follows(each[1])))
    return [outcome for _, outcome in weighed]


def weigh(outcomes: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """Return how much each outcome counts against the whole, as a verdict, in the order given.

    An optional item weighs nothing when it was left out and warns when it went wrong. A check of an asset
    that was itself left out had nothing to evaluate: it weighs what its asset came to.
    """
    of_asset: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.item.kind != "check":
            of_asset.setdefault(outcome.item.asset_key, []).append(outcome)
    return [(_weight(outcome, of_asset.get(outcome.item.asset_key, [])), outcome) for outcome in outcomes]


def _weight(outcome: Outcome, of_asset: Sequence[Outcome]) -> str:
    verdict = outcome.verdict
    if had_nothing_to_check(outcome, of_asset):
        verdict = max((asset.verdict for asset in of_asset), key=LATTICE.index)
    if outcome.item.required or verdict == "passed":
        return verdict
    return "passed" if verdict in _LEFT_OUT else "warned"


def had_nothing_to_check(outcome: Outcome, of_asset: Sequence[Outcome]) -> bool:
    """Tell a check that could not be evaluated because its asset was left out in every planned partition."""
    return (
        outcome.outcome == "not_evaluated"
        and outcome.reason_code in _NOTHING_TO_CHECK
        and bool(of_asset)
        and all(asset.verdict in _LEFT_OUT for asset in of_asset)
    )


def item_name(outcome: Outcome, within: str | None = None) -> str:
    """Name an item for a person: its check and asset, or its asset and partition unless it is `within` that."""
    item = outcome.item
    if item.check_name:
        return f"check {item.check_name} of {item.asset_key}"
    return item.asset_key if item.partition in {None, within} else f"{item.asset_key} [{item.partition}]"
