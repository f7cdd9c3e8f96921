"""When the steps of a run worked and when they waited, from its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.evidence.recorded_event import Recorded

_STARTS: Final = frozenset({"step.started.v1", "step.restarted.v1"})
_ENDS: Final[Mapping[str, str]] = {
    "step.succeeded.v1": "succeeded",
    "step.failed.v1": "failed",
    "step.retry_scheduled.v1": "retried",
    "step.skipped.v1": "skipped",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step: its first and last event. `ready_at` is when all it waits for had ended, or `None`.

    `status`: succeeded, failed, retried or skipped; running while it has no end on record.
    """

    step_key: str
    number: int
    started: Recorded | None
    ended: Recorded | None
    status: str
    ready_at: int | None = None

    @property
    def seconds(self) -> str:
        """How long it worked, in seconds; empty where it has no start or no end."""
        if self.started is None or self.ended is None:
            return ""
        return f"{(self.ended.occurred_at - self.started.occurred_at) / 1_000_000:.2f}"


def attempts(facts: JudgedRun) -> list[Attempt]:
    """Return every attempt of every step, in the order in which they began."""
    found: list[Attempt] = []
    running: dict[str, int] = {}
    tried: Counter[str] = Counter()
    for event in facts.events:
        if event.step_key is None:
            continue
        if event.event_type in _STARTS:
            tried[event.step_key] += 1
            running[event.step_key] = len(found)
            found.append(Attempt(event.step_key, tried[event.step_key], event, None, "running"))
        elif status := _ENDS.get(event.event_type):
            at = running.pop(event.step_key, None)
            if at is None:
                found.append(Attempt(event.step_key, 1, None, event, status))
            else:
                found[at] = replace(found[at], ended=event, status=status)
    return _with_waits(found, facts.after)


def _with_waits(found: Sequence[Attempt], after: Mapping[str, Sequence[str]]) -> list[Attempt]:
    ended = {each.step_key: each.ended.occurred_at for each in found if each.ended is not None}
    return [replace(each, ready_at=_ready_at(ended, after.get(each.step_key, ()))) for each in found]


def _ready_at(ended: Mapping[str, int], before: Iterable[str]) -> int | None:
    return max((ended[step] for step in before if step in ended), default=None)
