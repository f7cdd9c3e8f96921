"""The asset hook: evidence while the run goes on, from within the step's own process.

A hook must be short, bounded and silent: one that raises marks the step, one that hangs holds up the run.
It only makes capture early; what it leaves out, the sensors and `ledger sync` take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger import Event
from run_evidence.sensors.attach.attachment import Attachment
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.capture.run_capture import RunCapture
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RUNLESS

if TYPE_CHECKING:
    from dagster import DagsterInstance, HookDefinition

HOOK_NAME: Final = "ledger_capture"
PAUSE_SECONDS: Final = 0.1
"""Steps that end sooner than this after the last look are left to the next one. A look costs 2 ms, and steps that
take a tenth of this would feel it; a run's first step and a step that failed are always captured at once."""

_RUNS_REMEMBERED: Final = 8
_DAY_US: Final = 86_400_000_000


@dataclass(slots=True)
class HookState:
    """The runs this process is capturing; one run at a time is the normal case."""

    captures: dict[str, RunCapture] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    looked_at: tuple[str, float] = ("", 0.0)

    def is_due(self, run_id: str, now: float) -> bool:
        """Tell whether to look at the run again, and take it that this is done (seconds of a monotonic clock)."""
        last_run, last = self.looked_at
        due = run_id != last_run or now - last >= PAUSE_SECONDS
        if due:
            self.looked_at = (run_id, now)
        return due


def ledger_hook(attachment: Attachment) -> HookDefinition:
    """Make the hook; it fires after a step's success and failure alike and needs no resource."""
    import dagster as dg
    from dagster._core.definitions.events import HookExecutionResult  # Dagster 1.12 does not export it

    tail = HookState()

    def capture_step(context: Any, events: Sequence[Any]) -> HookExecutionResult:
        # The events handed over have neither ids nor times: what counts is what the instance has stored.
        instance, run_id = context.instance, context.run_id
        failed = any(event.is_step_failure for event in events)
        if not instance.is_ephemeral and (tail.is_due(run_id, time.monotonic()) or failed):
            attachment.hooked(instance, run_id, lambda: capture_new_records(tail, attachment, instance, run_id))
        return HookExecutionResult(hook_name=HOOK_NAME)

    return dg.HookDefinition(name=HOOK_NAME, hook_fn=capture_step)


def capture_new_records(tail: HookState, attachment: Attachment, instance: DagsterInstance, run_id: str) -> None:
    """Append what was recorded since this process last looked; the first look takes the run from its start."""
    with tail.lock:
        capture = tail.captures.pop(run_id, None)  # gone unless all of this succeeds: then the next look is whole
        policy = None
        if capture is None:
            begun = _begin(attachment, instance, run_id)
            if begun is None:
                return
            capture, policy = begun
        events: list[Event] = list(capture.new_records(instance))
        if policy is not None:
            events.extend(capture.opening_events(instance, policy))
        events.extend(capture.declared_skips())
        attachment.ledger.append(events)
        capture.absorb(events)
        tail.captures[run_id] = capture
        while len(tail.captures) > _RUNS_REMEMBERED:
            del tail.captures[next(iter(tail.captures))]


def _begin(attachment: Attachment, instance: DagsterInstance, run_id: str) -> tuple[RunCapture, Policy] | None:
    """Return the capture of a run from its start, and the policy that holds; `None` when there is no such run."""
    facts = source.run_facts(instance, run_id)
    if facts is None:
        return None
    ledger = attachment.ledger
    # Opening segments costs a database; it is only needed when something was sealed since the run began.
    sealed = ledger.sealed_since(facts.created_at)
    known = ledger.known([run_id, RUNLESS], sealed=sealed)
    # Without the sealed part this process cannot tell what was declared before: then it says so once a day.
    now = ledger.clock()
    attachment.declare(known[RUNLESS].own, now if sealed else now - now % _DAY_US)
    capture = RunCapture(source.store_id(instance), facts, attachment.capturing(), known[run_id])
    return capture, attachment.policy_in_force(known[RUNLESS].own)
