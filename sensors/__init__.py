"""Capture: Dagster's run log becomes events of the ledger, on every path, without the user's help.

`defs = with_ledger(defs)` is all a project adds; `skip(context, …)` is for an asset that leaves itself out, and
`closed_runs_sensor` for what follows the end of a run, `gate_check` for what may not run before a delivery is fit,
`evidence_sensor`, `report_evidence` and `verdict_check` for what Dagster shows of it.
`declare_partitions` records which partitions assets have, where no daemon does it.
"""

from typing import TYPE_CHECKING, Any

from run_evidence.sensors.capture.partitions import declare_partitions
from run_evidence.sensors.capture.policy import OptionalDependency
from run_evidence.sensors.capture.skips import skip

if TYPE_CHECKING:
    from run_evidence.sensors.attach.attach import with_ledger
    from run_evidence.sensors.closed_runs import closed_runs_sensor
    from run_evidence.sensors.delivery_gate import gate_check
    from run_evidence.sensors.evidence_asset import evidence_sensor, report_evidence, verdict_check

__all__ = [
    "OptionalDependency",
    "closed_runs_sensor",
    "declare_partitions",
    "evidence_sensor",
    "gate_check",
    "report_evidence",
    "skip",
    "verdict_check",
    "with_ledger",
]


def __getattr__(name: str) -> Any:
    """Load what needs Dagster only for those who define something: `ledger sync --help` need not."""
    if name == "closed_runs_sensor":
        from run_evidence.sensors.closed_runs import closed_runs_sensor

        return closed_runs_sensor
    if name == "gate_check":
        from run_evidence.sensors.delivery_gate import gate_check

        return gate_check
    if name in {"evidence_sensor", "report_evidence", "verdict_check"}:
        from run_evidence.sensors import evidence_asset

        return getattr(evidence_asset, name)
    if name == "with_ledger":
        from run_evidence.sensors.attach.attach import with_ledger

        return with_ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
