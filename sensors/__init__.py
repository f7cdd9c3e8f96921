"""Capture: Dagster's run log becomes events of the ledger, on every path, without the user's help.

`defs = with_ledger(defs)` is all a project adds; `skip(context, …)` is for an asset that leaves itself out.
"""

from typing import TYPE_CHECKING, Any

from run_evidence.sensors.capture.policy import OptionalDependency
from run_evidence.sensors.capture.skips import skip

if TYPE_CHECKING:
    from run_evidence.sensors.attach.attach import with_ledger

__all__ = ["OptionalDependency", "skip", "with_ledger"]


def __getattr__(name: str) -> Any:
    """Load `with_ledger`, and with it Dagster, only for those who attach: `ledger sync --help` need not."""
    if name == "with_ledger":
        from run_evidence.sensors.attach.attach import with_ledger

        return with_ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
