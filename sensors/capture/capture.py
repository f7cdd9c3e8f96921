"""The one capture path: what Dagster recorded about a run goes into the ledger, once.

The hook, the sensors and `ledger sync` all come here; they differ only in when. Every event's identity is
deterministic, so captures that overlap, repeat or die half way end in the same ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_data import declaration as profiles_declared
from run_evidence.ledger import EnvironmentFault, Event, InputError, IntegrityError, Ledger, RunKnown
from run_evidence.sensors.capture.context import DEFAULT_GRACE_SECONDS, CaptureContext, Captured
from run_evidence.sensors.capture.policy import Policy, declaration, latest_policy
from run_evidence.sensors.capture.run_capture import RunCapture
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.source import RUNLESS, RunFacts

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["DEFAULT_GRACE_SECONDS", "CaptureContext", "Captured", "Outbox", "capture_known", "capture_run"]

FLUSH_EVENTS: Final = 5_000
MAX_PAUSED: Final = 4
"""How many runs a process remembers that it has read in part; each takes memory for every record of it."""


class Outbox:
    """Events on their way into the ledger, so that many small runs share one append.

    Appended when there are `FLUSH_EVENTS` of them, and when `flush` is called. `appended` counts them all. What
    the ledger refuses of one run is in `refused`, with the reason, and keeps no other run's events out; `broken`
    says that the ledger itself failed.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[str, list[Event]] = {}
        self.appended = 0
        self.broken = False
        self.refused: dict[str, str] = {}

    def put(self, run_id: str, events: list[Event]) -> None:
        """Take events of a run; append when enough wait. Of a run that was refused nothing more is taken."""
        if events and run_id not in self.refused:
            self._waiting.setdefault(run_id, []).extend(events)
        if sum(map(len, self._waiting.values())) >= FLUSH_EVENTS:
            self.flush()

    def flush(self) -> None:
        """Append what waits. Raises `LedgerError` when the ledger fails; what waits then is dropped as well."""
        waiting, self._waiting = self._waiting, {}
        try:
            self._append([event for events in waiting.values() for event in events])
        except (EnvironmentFault, IntegrityError):
            raise
        except Exception:  # noqa: BLE001 - an event that cannot be encoded: whose it is, each run by itself tells
            for run_id, events in waiting.items():
                try:
                    self._append(events)
                except (EnvironmentFault, IntegrityError):
                    raise
                except Exception as error:  # noqa: BLE001 - named, and left to the next capture
                    self.refused[run_id] = f"{type(error).__name__}: {error}"

    def _append(self, events: list[Event]) -> None:
        try:
            self.appended += self._ledger.append(events)
        except (EnvironmentFault, IntegrityError):
            self.broken = True
            raise


def capture_run(instance: DagsterInstance, run_id: str, how: CaptureContext) -> Captured | None:
    """Read the whole log of a run and append what the ledger does not have; `None` when there is no such run.

    Idempotent, and safe from many processes at once. Closes the run when it ended more than the grace
    period ago. Raises `LedgerError` when the ledger cannot be read or written; nothing is half-written.
    """
    facts = source.run_facts(instance, run_id)
    if facts is None:
        return None
    known = how.ledger.known([run_id, RUNLESS] if how.policy is None else [run_id])
    policy = policy_of(how, known.get(RUNLESS))
    outbox = Outbox(how.ledger)
    captured = capture_known(instance, facts, how, policy, known[run_id], outbox)
    outbox.flush()
    if problem := outbox.refused.get(run_id):
        raise InputError(f"Run {run_id} cannot be recorded: {problem}", next_step="report it as a bug")
    return captured


def declare(how: CaptureContext) -> None:
    """Record the policy that is given, unless it is the one declared last: from now on it holds for everybody."""
    if how.policy is not None:
        known = how.ledger.known([RUNLESS])[RUNLESS]
        how.ledger.append(declaration(how.policy, known.own, how.ledger.clock()))


def declare_profile(ledger: Ledger, profile: DeliveryProfile) -> None:
    """Record what a project hands over, unless that is declared: whoever has the ledger then has the profile."""
    ledger.append(profiles_declared([profile], ledger.known([RUNLESS])[RUNLESS].own, ledger.clock()))


def policy_of(how: CaptureContext, runless: RunKnown | None) -> Policy:
    """Return the policy that holds: the one given, else the one declared last in the ledger."""
    return how.policy or (latest_policy(runless.own) if runless else None) or Policy()


def capture_known(
    instance: DagsterInstance,
    facts: RunFacts,
    how: CaptureContext,
    policy: Policy,
    known: RunKnown,
    outbox: Outbox,
    paused: dict[str, RunCapture] | None = None,
    is_late: Callable[[], bool] = lambda: False,
) -> Captured:
    """Capture one run into `outbox`; `known` is what the ledger holds about it.

    Where the time is over within the run, what was read of it is put into the outbox, and the capture into
    `paused`, from where the next call goes on; without it the next call reads the run again.
    """
    work = paused.pop(facts.run_id, None) if paused is not None else None
    if work is None:
        work = RunCapture(source.store_id(instance), facts, how, known)
    else:
        work.go_on(facts)
    count = 0
    batch: list[Event] = []
    for event in work.new_records(instance, is_late):
        batch.append(event)
        if len(batch) >= FLUSH_EVENTS:
            outbox.put(facts.run_id, batch)
            count += len(batch)
            batch = []
    if not work.paused:
        batch.extend(work.own_events(instance, policy))
    elif paused is not None and len(paused) < MAX_PAUSED:
        paused[facts.run_id] = work
    outbox.put(facts.run_id, batch)
    return work.result(count + len(batch))


def capture_runless(instance: DagsterInstance, how: CaptureContext, known: RunKnown, outbox: Outbox) -> Captured:
    """Capture the records that belong to no run: wipes, and materializations reported from outside.

    Reads nothing when the log has not grown since all of it was captured.
    """
    store = source.store_id(instance)
    size = source.log_sizes(instance, [RUNLESS])[RUNLESS]
    held = sum(1 for captured_in, _ in known.records if captured_in == store)
    if size.records == held:
        return Captured(RUNLESS, held, 0, 0, 0, ended=False, closed=False)
    facts = RunFacts(RUNLESS, "", "", {}, 0, 0, None)
    work = RunCapture(store, facts, how, known)
    events = list(work.new_records(instance))
    outbox.put(RUNLESS, events)
    return work.result(len(events))
