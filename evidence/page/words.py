"""How a page says what became of something: a letter, a word and a class for its colour, never a colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.profile import DRY_RUN_ONLY, REVIEW

if TYPE_CHECKING:
    from run_evidence.evidence.gate import Gate

LETTERS: Final[Mapping[str, str]] = {
    "passed": "P",
    "warned": "W",
    "failed": "F",
    "skipped": "S",
    "not_available": "A",
    "not_evaluated": "N",
    "unknown": "?",
}
"""Every verdict and its letter. An item that nobody planned has none."""

MEANINGS: Final[Mapping[str, str]] = {
    "P": "passed",
    "W": "passed with a warning",
    "F": "failed",
    "S": "skipped, by a decision or because of one",
    "A": "not available: it was wanted, and is not there",
    "N": "never evaluated or never produced",
    "?": "unknown",
}

UNPLANNED: Final = "·"
"""The mark of a place that nobody planned, which is not one that is missing."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The first words of a page: a shape, a word, and `tone`, the verdict whose colour they have."""

    shape: str
    word: str
    tone: str


PROCEEDS: Final = Headline("●", "PROCEED", "passed")
HELD: Final = Headline("▲", "HELD", "failed")
DECISIONS: Final[Mapping[str, Headline]] = {
    REVIEW: Headline("◆", "NEEDS REVIEW", "warned"),
    DRY_RUN_ONLY: Headline("○", "DRY RUN", "skipped"),
}


def headline(gate: Gate) -> Headline:
    """Return the first words for a gate's answer: what is not met is held, unless all decisions say it more mildly.

    Where a run delivers something, that is what is decided on.
    """
    if gate.met:
        return PROCEEDS
    decisions = {part.decision for part in gate.subject.deliveries or gate.subject.parts}
    milder = [words for decision, words in DECISIONS.items() if decisions == {decision}]
    return milder[0] if milder else HELD
