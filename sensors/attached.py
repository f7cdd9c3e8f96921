"""What every attached path shares: the ledger it writes to, the policy it declares, and its manners."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ledger import Ledger
from ledger.handle import RunKnown
from sensors.policy import Policy, latest_policy, policy_event
from sensors.release import process_correlation
from sensors.run_capture import DEFAULT_GRACE_SECONDS, Capturing
from sensors.trouble import report_trouble

if TYPE_CHECKING:
    from dagster import DagsterInstance

BACK_OFF_SECONDS: Final = 60.0
"""How long a process leaves a ledger alone after it hung or failed, so that 100 steps do not wait 100 times."""


@dataclass(slots=True)
class Attachment:
    """One `with_ledger`: where to, what may be missing, how long a hook may take (seconds)."""

    ledger: Ledger
    policy: Policy
    hook_timeout_seconds: float = 2.0
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    tick_seconds: int = 30
    release_id: str | None = None
    _quiet_until: float = field(default=0.0, init=False)

    def capturing(self) -> Capturing:
        """Return how this process captures: in the release it runs."""
        defaults = process_correlation({"RELEASE_ID": self.release_id} if self.release_id else None)
        return Capturing(self.ledger, self.policy, defaults, self.grace_seconds)

    def declare_policy(self, known: Mapping[str, RunKnown]) -> None:
        """Record the policy when it is not the one declared last, so that `ledger sync` applies it too."""
        if latest_policy(known[""].own) != self.policy and (self.policy.optional or known[""].own):
            self.ledger.append([policy_event(self.policy, self.ledger.clock())])

    def bounded(self, instance: DagsterInstance, where: str, run_id: str, work: Callable[[], object]) -> None:
        """Do the work within `hook_timeout_seconds`, or leave it to the sensors; never raises, never hangs.

        The work runs in a thread that nobody waits for longer than that: a store that hangs holds up this
        thread alone. After trouble the process stays away from the ledger for `BACK_OFF_SECONDS`.
        """
        if time.monotonic() < self._quiet_until:
            return
        failure: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - capture must not fail the user's run
                failure.append(error)

        thread = threading.Thread(target=guarded, name="ledger-capture", daemon=True)
        thread.start()
        thread.join(self.hook_timeout_seconds)
        if thread.is_alive():
            failure.append(TimeoutError(f"the ledger did not answer within {self.hook_timeout_seconds} s"))
        if failure:
            self._quiet_until = time.monotonic() + BACK_OFF_SECONDS
            report_trouble(instance, where, run_id, f"{type(failure[0]).__name__}: {failure[0]}")
