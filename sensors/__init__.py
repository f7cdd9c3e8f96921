"""Capture: Dagster's run log becomes events of the ledger, on every path, without the user's help.

`with_ledger(defs)` is all a project adds; `skip(context, …)` is for an asset that leaves itself out.
"""

from sensors.policy import OptionalDependency
from sensors.skips import skip

__all__ = ["OptionalDependency", "skip"]
