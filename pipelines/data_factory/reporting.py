"""The two report assets, and the sensor that writes the final documents once a run has closed.

Nothing here computes evidence: it is captured, derived and written by `sensors` and `evidence`. What an asset
reports about its own run is as of a checkpoint sealed for it; the final documents come after the run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import dagster as dg

from pipelines.data_factory.assets import BACKFILL_PLAN, GROUP, OWNERS, TICKET_FACT
from pipelines.delivery import LAKEHOUSE, MART, WEEK06
from pipelines.ingestion.asset_card import card
from pipelines.ingestion.failures import explained
from pipelines.resources import ReportsResource
from run_evidence.evidence import WrittenDocuments, write_delivery_summary, write_documents, write_run_documents
from run_evidence.ledger import Ledger, open_ledger
from run_evidence.sensors import OptionalDependency, report_evidence, verdict_check
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.capture.policy import Policy
from run_evidence.sensors.closed_runs import hand_on_closed_runs

RUN_EVIDENCE_REPORT: Final = dg.AssetKey(["week06", "ops", "run_evidence_report"])
DELIVERY_SUMMARY: Final = dg.AssetKey(["week06", "ops", "data_factory_delivery_summary"])

OPTIONAL: Final = (
    OptionalDependency(
        LAKEHOUSE,
        "week04_lakehouse_not_available",
        "Week04's lakehouse state was not observed",
    ),
    OptionalDependency(
        MART,
        "week05_analytics_not_available",
        "Week05's semantic mart was not observed",
    ),
)
"""What the factory may do without: it is never `passed` when it is not there, and never holds the main line."""

POLICY: Final = Policy(OPTIONAL)
"""The same for who captures without the hook, which may have had no time to declare it."""

_FINAL_SENSOR: Final = "week06_final_evidence"


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
        metadata=card("retry", "ledger: materialization; reports/week06/run_evidence/"),
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
            capture_run(context.instance, context.run.run_id, CaptureContext(ledger, POLICY))
            written = write_run_documents(
                ledger, context.run.run_id, Path(week06_reports.report_dir), profile=WEEK06
            )
        return dg.MaterializeResult(
            metadata={
                "as_of_size": written.size,
                "final": written.final,
                "report_path": dg.MetadataValue.path(str(written.report)),
            }
        )

    @dg.asset(
        key=DELIVERY_SUMMARY,
        metadata=card("retry", "ledger: materialization; reports/week06/week06_delivery_summary.md"),
        deps=[RUN_EVIDENCE_REPORT],
        partitions_def=daily,
        group_name=GROUP,
        owners=OWNERS,
    )
    def data_factory_delivery_summary(
        context: dg.AssetExecutionContext, week06_reports: ReportsResource, week06_ledger: LedgerResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Write what a person reads at hand-over, derived from the ledger as it is now."""
        with explained():
            ledger = week06_ledger.open()
            capture_run(context.instance, context.run.run_id, CaptureContext(ledger, POLICY))
            written = write_delivery_summary(ledger, Path(week06_reports.report_dir), profile=WEEK06)
        return dg.MaterializeResult(
            metadata={"as_of_size": written.size, "report_path": dg.MetadataValue.path(str(written.kept))}
        )

    return [run_evidence_report, data_factory_delivery_summary]


def report_check() -> dg.AssetChecksDefinition:
    """Build the check on the run evidence report in which Dagster shows the verdict of the last delivery."""
    return verdict_check(RUN_EVIDENCE_REPORT, profile=WEEK06)


def show_evidence(instance: dg.DagsterInstance, ledger: Ledger, written: WrittenDocuments) -> bool:
    """Show a run's final documents on the run evidence report, in Dagster's own UI; tell whether that was new."""
    return report_evidence(instance, ledger, written, RUN_EVIDENCE_REPORT, profile=WEEK06)


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
        def write(ledger: Ledger, names: Sequence[str]) -> Mapping[str, str]:
            return write_documents(
                ledger,
                names,
                Path(week06_reports.report_dir),
                WEEK06,
                then=lambda written: show_evidence(context.instance, ledger, written),
            )

        return hand_on_closed_runs(context, week06_ledger.open(), write, job_name)

    return write_final
