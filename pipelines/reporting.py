"""The two report assets, and the sensor that writes the final documents once a run has closed.

Nothing here computes evidence: it is captured, derived and written by `sensors` and `evidence`. What an asset
reports about its own run is as of a checkpoint sealed for it; the final documents come after the run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dagster as dg
import orjson

from pipelines.assets import BACKFILL_PLAN, GROUP, OWNERS, TICKET_FACT
from pipelines.failures import explained
from pipelines.resources import ReportsResource
from run_evidence.evidence import write_delivery_summary, write_run_documents
from run_evidence.ledger import Ledger
from run_evidence.ledger.query.as_of import NOW
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.settings import open_ledger
from run_evidence.sensors import OptionalDependency
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

RUN_EVIDENCE_REPORT: Final = dg.AssetKey(["week06", "ops", "run_evidence_report"])
DELIVERY_SUMMARY: Final = dg.AssetKey(["week06", "ops", "data_factory_delivery_summary"])

OPTIONAL: Final = (
    OptionalDependency(
        "week06/external/lakehouse_state",
        "week04_lakehouse_not_available",
        "Week04's lakehouse state was not observed",
    ),
    OptionalDependency(
        "week06/external/support_kpi_mart",
        "week05_analytics_not_available",
        "Week05's semantic mart was not observed",
    ),
)
"""What the factory may do without: it is never `passed` when it is not there, and never holds the main line."""

_FINAL_SENSOR: Final = "week06_final_evidence"
_SUMMARY: Final = "week06_delivery_summary"
_WAITING: Final = 500
"""How many runs without their documents a cursor keeps."""

_NAMED: Final = 5
_CLOSED_AFTER: Final = (
    "SELECT index, run_id FROM events WHERE event_type = 'run.closed.v1' AND job_name = $job AND index >= $from "
    "ORDER BY index"
)


class LedgerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`week06_ledger`: the ledger the reports are derived from; without a path, the one `ledger` would use."""

    path: str | None = None

    def open(self) -> Ledger:
        """Return the ledger; whether it is there is seen at the first read."""
        return open_ledger(self.path)


def report_assets(daily: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Build the run evidence report and the delivery summary for these daily partitions."""

    @dg.asset(
        key=RUN_EVIDENCE_REPORT,
        deps=[TICKET_FACT, BACKFILL_PLAN],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
    )
    def run_evidence_report(
        context: dg.AssetExecutionContext, week06_reports: ReportsResource, week06_ledger: LedgerResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Write this run's evidence as of now, derived from the ledger; the final one follows the run's end."""
        with explained():
            ledger = week06_ledger.open()
            # The step that asks is still running: closing is left to the sensors, after the run.
            capture_run(context.instance, context.run.run_id, CaptureContext(ledger))
            written = write_run_documents(ledger, context.run.run_id, Path(week06_reports.report_dir))
        return dg.MaterializeResult(
            metadata={
                "as_of_size": written.size,
                "final": written.final,
                "report_path": dg.MetadataValue.path(str(written.report)),
            }
        )

    @dg.asset(
        key=DELIVERY_SUMMARY, deps=[RUN_EVIDENCE_REPORT], partitions_def=daily, group_name=GROUP, owners=OWNERS
    )
    def data_factory_delivery_summary(
        context: dg.AssetExecutionContext, week06_reports: ReportsResource, week06_ledger: LedgerResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Write what a person reads at hand-over, derived from the ledger as it is now."""
        with explained():
            ledger = week06_ledger.open()
            capture_run(context.instance, context.run.run_id, CaptureContext(ledger))
            written = write_delivery_summary(ledger, Path(week06_reports.report_dir))
        return dg.MaterializeResult(
            metadata={"as_of_size": written.size, "report_path": dg.MetadataValue.path(str(written.kept))}
        )

    return [run_evidence_report, data_factory_delivery_summary]


def final_evidence_sensor(job_name: str, tick_seconds: int = 30) -> dg.SensorDefinition:
    """Make the sensor that writes a run's final documents when the ledger has closed the run.

    It looks every `tick_seconds`.
    """

    @dg.sensor(
        name=_FINAL_SENSOR,
        minimum_interval_seconds=tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes the final evidence of every run that the ledger has closed, failed ones included.",
    )
    def write_final(
        context: dg.SensorEvaluationContext, week06_reports: ReportsResource, week06_ledger: LedgerResource
    ) -> dg.SkipReason:
        ledger = week06_ledger.open()
        if not ledger.exists():
            return dg.SkipReason("There is no ledger yet.")
        start, waiting = read_place(context.cursor)
        with open_snapshot(ledger, NOW) as snapshot:
            closed = snapshot.rows(_CLOSED_AFTER, {"job": job_name, "from": start})
        run_ids = dict.fromkeys([*(run_id for _, run_id in closed), *waiting])
        failed = _write_documents(ledger, Path(week06_reports.report_dir), list(run_ids))
        for name, problem in failed.items():
            context.log.warning(f"final evidence not written, tried again later: {name}: {problem}")
        place = closed[-1][0] + 1 if closed else start
        context.update_cursor(orjson.dumps({"from": place, "waiting": sorted(failed)[:_WAITING]}).decode())
        wrong = [f"; not written, tried again later: {name}: {problem}" for name, problem in failed.items()]
        return dg.SkipReason(f"{len(closed)} runs closed since the last tick{''.join(wrong[:_NAMED])}")

    return write_final


def _write_documents(ledger: Ledger, folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Write the documents of these runs and then the summary; return what could not be written, and why.

    One that cannot be written keeps no other from being written: it is named, and tried again in the next tick.
    """
    failed: dict[str, str] = {}
    for name in [*(name for name in names if name != _SUMMARY), *([_SUMMARY] if names else ())]:
        try:
            if name == _SUMMARY:
                write_delivery_summary(ledger, folder)
            else:
                write_run_documents(ledger, name, folder)
        except Exception as error:  # noqa: BLE001 - whatever it is, later runs get their documents
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def read_place(cursor: str | None) -> tuple[int, list[str]]:
    """Return the index to go on from, and whose documents are still to be written.

    A cursor that cannot be read is the beginning: documents that are there are not written again.
    """
    try:
        place = orjson.loads(cursor or "0")
        if isinstance(place, int):
            return place, []
        return int(place["from"]), [str(name) for name in place["waiting"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0, []
