"""The one capture path: what Dagster recorded about a run goes into the ledger, once.

The hook, the sensors and `ledger sync` all come here; they differ only in when. Every event's identity is
deterministic, so captures that overlap, repeat or die half way end in the same ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ledger import Event
from ledger.handle import RunKnown
from sensors import source
from sensors.policy import Policy, latest_policy
from sensors.run_capture import DEFAULT_GRACE_SECONDS, Captured, Capturing, RunCapture
from sensors.source import RunFacts

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["DEFAULT_GRACE_SECONDS", "Captured", "Capturing", "capture_known", "capture_run", "start_capture"]

FLUSH_EVENTS: Final = 5_000


def capture_run(instance: DagsterInstance, run_id: str, how: Capturing) -> Captured | None:
    """Read the whole log of a run and append what the ledger does not have; `None` when there is no such run.

    Idempotent, and safe from many processes at once. Closes the run when it ended more than the grace
    period ago. Raises `LedgerError` when the ledger cannot be read or written; nothing is half-written.
    """
    facts = source.run_facts(instance, run_id)
    if facts is None:
        return None
    known = how.ledger.known([run_id, ""])
    pending: list[Event] = []
    captured = capture_known(instance, facts, how, known, pending)
    how.ledger.append(pending)
    return captured


def capture_known(
    instance: DagsterInstance,
    facts: RunFacts,
    how: Capturing,
    known: Mapping[str, RunKnown],
    pending: list[Event],
) -> Captured:
    """Capture one run into `pending`, which is appended whenever it reaches `FLUSH_EVENTS`.

    `known` is what the ledger holds about this run and about none (`""`: the declared policy).
    """
    work, policy = start_capture(instance, facts, how, known)
    before = len(pending)
    flushed = 0
    for event in work.new_records(instance):
        pending.append(event)
        if len(pending) >= FLUSH_EVENTS:
            flushed += how.ledger.append(pending) - before
            before = 0
            pending.clear()
    pending.extend(work.own_events(instance, policy))
    return work.result(flushed + len(pending) - before)


def start_capture(
    instance: DagsterInstance, facts: RunFacts, how: Capturing, known: Mapping[str, RunKnown]
) -> tuple[RunCapture, Policy]:
    """Prepare the capture of one run, and say which policy holds: the one given, else the last declared."""
    policy = how.policy or latest_policy(known[""].own) or Policy()
    return RunCapture(source.store_id(instance), facts, how, known[facts.run_id]), policy
