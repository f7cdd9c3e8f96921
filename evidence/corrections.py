"""Corrections of what a verdict rests on. They do not change it: a verdict is derived from what was recorded.

It says instead that it rests on events that somebody amended or voided since, who and why; what to make of that is
for a person to judge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """An amendment or a void that counts. `index` is `None` while it is unsealed; `recorded_at` in microseconds.

    `changes` are columns and the values that hold instead; none in a void, nor in an amendment that is a remark.
    """

    index: int | None
    event_id: str
    action: str
    target_event_id: str
    recorded_at: int
    actor: str
    reason: str
    changes: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """Say where it is, who made it, why, and what it changes."""
        where = "not sealed" if self.index is None else f"at index {self.index}"
        to = ", ".join(f"{column}={value}" for column, value in self.changes.items())
        return f"{self.action} {where} by {self.actor}: {self.reason}" + (f" ({to})" if to else "")


def read_corrections(prefix: Prefix, run_ids: Sequence[str]) -> dict[str, tuple[Correction, ...]]:
    """Read the corrections of each run's events, in the order of recording; a run without has no value."""
    found: dict[str, list[Correction]] = defaultdict(list)
    names = Correction.__slots__[:-1]
    if run_ids:
        for run_id, *values, changes in prefix.select("run_amendments", run_ids=list(run_ids)):
            about = dict(zip(names, values, strict=True))
            found[run_id].append(Correction(**about, changes=orjson.loads(changes or "{}")))
    return {run_id: tuple(corrections) for run_id, corrections in found.items()}


def corrections_of(prefix: Prefix, event_ids: Sequence[str]) -> tuple[Correction, ...]:
    """Read the corrections of these events, whichever run they are of, in the order of recording."""
    rows = prefix.select("amendments_of", event_ids=list(event_ids)) if event_ids else []
    names = Correction.__slots__[:-1]
    return tuple(
        Correction(**dict(zip(names, values, strict=True)), changes=orjson.loads(changes or "{}"))
        for *values, changes in rows
    )
