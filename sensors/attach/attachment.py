"""What every attached path shares: the ledger it writes to, what it declares, and its manners."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_data import declaration as profiles_declared
from run_evidence.ledger import Ledger, OwnEvent
from run_evidence.sensors.attach.failure_log import report_trouble
from run_evidence.sensors.attach.release import process_correlation
from run_evidence.sensors.capture.context import DEFAULT_GRACE_SECONDS, CaptureContext
from run_evidence.sensors.capture.policy import Policy, declaration, latest_policy
from run_evidence.sensors.dagster_log.source import RUNLESS

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from run_evidence.sensors.capture.run_capture import RunCapture

BACK_OFF_SECONDS: Final = 60.0
"""How long a process leaves a ledger alone after it hung or failed, so that 100 steps do not wait 100 times."""


@dataclass(slots=True)
class Attachment:
    """One `with_ledger`: where to, what may be missing, how long a hook may take (seconds).

    Without a `policy` of its own, the one declared last in the ledger holds. `profiles` say what the project hands
    over, for everybody who has the ledger. `paused` are the runs that the
    process has read in part: those that take longer than a tick.
    """

    ledger: Ledger
    policy: Policy | None
    hook_timeout_seconds: float = 2.0
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    tick_seconds: int = 30
    release_id: str | None = None
    log_lines: bool = False
    profiles: tuple[DeliveryProfile, ...] = ()
    _quiet_until: float = field(default=0.0, init=False)
    _declared: Policy = field(default_factory=Policy, init=False)
    _asked_at: float = field(default=-math.inf, init=False)
    _at_work: dict[str, threading.Thread] = field(default_factory=dict, init=False)
    paused: dict[str, RunCapture] = field(default_factory=dict, init=False)

    def capturing(self) -> CaptureContext:
        """Return how this process captures: in the release it runs."""
        defaults = process_correlation(self.release_id)
        return CaptureContext(self.ledger, self.policy, defaults, self.grace_seconds, self.log_lines)

    def declare(self, runless: Sequence[OwnEvent], declared_at: int) -> None:
        """Record the policy and the profiles that are not those declared last, so that they hold for everybody."""
        events = profiles_declared(self.profiles, runless, declared_at)
        if self.policy is not None:
            events += declaration(self.policy, runless, declared_at)
        self.ledger.append(events)

    def policy_in_force(self, runless: Iterable[OwnEvent]) -> Policy:
        """Return the policy that holds; `runless` may lack what is sealed, which is asked once a minute at most."""
        if self.policy is not None:
            return self.policy
        if time.monotonic() - self._asked_at >= BACK_OFF_SECONDS:
            self._declared = latest_policy(self.ledger.known([RUNLESS])[RUNLESS].own) or Policy()
            self._asked_at = time.monotonic()
        return latest_policy(runless) or self._declared

    def hooked(self, instance: DagsterInstance, run_id: str, work: Callable[[], object]) -> None:
        """Do a hook's work within `hook_timeout_seconds`, or leave it to the sensors.

        After trouble the process stays away from the ledger for `BACK_OFF_SECONDS`.
        """
        if time.monotonic() >= self._quiet_until and not self.bounded(
            instance, "hook", run_id, work, self.hook_timeout_seconds
        ):
            self._quiet_until = time.monotonic() + BACK_OFF_SECONDS

    def bounded(
        self, instance: DagsterInstance, where: str, run_id: str, work: Callable[[], object], seconds: float
    ) -> bool:
        """Do the work within `seconds` and tell whether it was done; never raises, never hangs.

        The work runs in a thread that nobody waits for longer than that: a store that hangs holds up this
        thread alone, and as long as it does, no second one is started in this place.
        """
        failure: list[Exception] = []

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - capture must not fail the user's run
                failure.append(error)

        if self.is_at_work(where):
            failure.append(TimeoutError("the ledger still does not answer the call before"))
        else:
            thread = threading.Thread(target=guarded, name=f"ledger-{where}", daemon=True)
            self._at_work[where] = thread
            thread.start()
            thread.join(seconds)
            if thread.is_alive():
                failure.append(TimeoutError(f"the ledger did not answer within {seconds:g} s"))
        if failure:
            report_trouble(instance, where, run_id, f"{type(failure[0]).__name__}: {failure[0]}")
        return not failure

    def is_at_work(self, where: str) -> bool:
        """Tell whether work that nobody waits for any more still goes on in this place."""
        before = self._at_work.get(where)
        return before is not None and before.is_alive()
