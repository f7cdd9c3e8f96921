"""Week07's gate and what stands behind it, as assets. No annotations are postponed: Dagster reads them."""

from pathlib import Path
from typing import Any, Final

import dagster as dg

from pipelines.consumers.handover import Inbox, receive
from pipelines.delivery import WEEK06
from pipelines.ingestion.asset_card import card
from pipelines.ingestion.failures import explained
from pipelines.resources import WarehouseResource
from run_evidence.ledger import UsageError

CONSUMER_GROUP: Final = "week07_consumer"
CONSUMER_JOB: Final = "week07_consumer"
OWNERS: Final = ["team:retrieval"]
DEFAULT_HANDOVER_DIR: Final = ".demo/handover"

HANDOVER_GATE: Final = dg.AssetKey(["week07", "consumers", "handover_gate"])
TICKET_INPUT: Final = dg.AssetKey(["week07", "consumers", "ticket_input"])
_PRODUCT: Final = dg.AssetKey(WEEK06.product.split("/"))


class HandoverResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`week07_handover`: where hand-overs arrive, one folder a partition, and the log's verifier key."""

    folder: str = DEFAULT_HANDOVER_DIR
    verifier_key: str | None = None
    memory: str | None = None

    def inbox(self) -> Inbox:
        """Return the settings as they are used. Raises: UsageError without a key: nothing is believed unproved."""
        if not self.verifier_key:
            raise UsageError(
                "WEEK07_VERIFIER_KEY is not set, and a hand-over is accepted by a key alone",
                next_step="set WEEK07_VERIFIER_KEY to the log's verifier key, or to a file that has it",
            )
        return Inbox(Path(self.folder), self.verifier_key, Path(self.memory) if self.memory else None)


def consumer_assets(daily: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Build the gate and what is behind it for these daily partitions."""

    @dg.asset(
        key=HANDOVER_GATE,
        metadata=card("hold", "ledger: materialization; the hand-over it names"),
        deps=[_PRODUCT],
        partitions_def=daily,
        group_name=CONSUMER_GROUP,
        owners=OWNERS,
    )
    def handover_gate(
        context: dg.AssetExecutionContext, week07_handover: HandoverResource, week06_postgres: WarehouseResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Accept Week06's hand-over of this partition, or fail with the reason: then nothing behind it runs."""
        with explained():
            received = receive(week07_handover.inbox(), week06_postgres.open(), context.partition_key)
        accepted = received.accepted
        return dg.MaterializeResult(
            metadata={
                "downstream_decision": accepted.decision,
                "producer_run_id": accepted.run_id,
                "recorded_at": accepted.recorded_at,
                "log_origin": accepted.origin,
                "signed_by": dg.MetadataValue.json(list(accepted.signed_by)),
                "source_snapshot_id": received.state.snapshot_id,
                "reason_codes": dg.MetadataValue.json(list(accepted.evidence["reason_codes"])),
            }
        )

    @dg.asset(
        key=TICKET_INPUT,
        metadata=card("retry", "ledger: materialization"),
        deps=[HANDOVER_GATE],
        partitions_def=daily,
        group_name=CONSUMER_GROUP,
        owners=OWNERS,
    )
    def ticket_input(
        context: dg.AssetExecutionContext, week07_handover: HandoverResource, week06_postgres: WarehouseResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Take the partition's tickets over, after holding them against the hand-over once more."""
        with explained():
            received = receive(week07_handover.inbox(), week06_postgres.open(), context.partition_key)
        return dg.MaterializeResult(
            metadata={
                "input_row_count": received.state.ticket_count,
                "source_snapshot_id": received.state.snapshot_id,
                "producer_run_id": received.accepted.run_id,
            }
        )

    return [handover_gate, ticket_input]


def consumer_job() -> Any:
    """Build Week07's job over its group."""
    return dg.define_asset_job(CONSUMER_JOB, selection=dg.AssetSelection.groups(CONSUMER_GROUP))
