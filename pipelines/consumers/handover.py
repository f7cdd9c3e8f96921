"""What Week07 asks before it builds on a partition.

Is there a hand-over, does it hold, does it set the partition free, and is the data still what it is about? The
producer is not asked: a verifier key and the folder decide, then the warehouse's rows are held against the snapshot
that the evidence names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.delivery import WEEK06
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.partitions import daily_window
from run_evidence.evidence import Accepted, Refused, accept
from run_evidence.ledger import accepted_folder, read_key_texts

if TYPE_CHECKING:
    from pipelines.ingestion.warehouse import PartitionState, Warehouse

RECIPIENT: Final = "week07"
_ASK_AGAIN: Final = "ask Week06 for a new hand-over of this partition; build nothing on it until then"


@dataclass(frozen=True, slots=True)
class Inbox:
    """Where hand-overs arrive, one folder a partition, and whom the recipient trusts.

    `key` is the log's verifier key or a file that has it. `memory` remembers what was accepted last, so that an
    older one is refused; None is the folder that `ledger accept` uses.
    """

    folder: Path
    key: str
    memory: Path | None = None

    def of(self, partition: str) -> Path:
        """Return the folder of one partition's hand-over."""
        return self.folder / partition


@dataclass(frozen=True, slots=True)
class Received:
    """A partition that may be built on: the hand-over that was accepted, and the rows as they are now."""

    accepted: Accepted
    state: PartitionState


def receive(inbox: Inbox, warehouse: Warehouse, partition: str) -> Received:
    """Accept the hand-over of a partition and hold the warehouse against it.

    Raises: RefusedInputError with `handover_missing`, the code of docs/handover.md with which it does not hold,
    `decision_not_proceed` and the decision, `snapshot_not_stated`, or `partition_changed_after_handover`;
    EnvironmentFault when a file or the warehouse cannot be read; UsageError for what is no verifier key.
    """
    window = daily_window(partition)
    folder = inbox.of(partition)
    if not folder.is_dir():
        raise _refusal(f"{folder}: no hand-over of {partition} has arrived", "handover_missing")
    try:
        accepted = accept(
            folder,
            read_key_texts([inbox.key]),
            product=WEEK06.product,
            partition=partition,
            to=RECIPIENT,
            memory=inbox.memory or accepted_folder(),
        )
    except Refused as error:
        raise _refusal(str(error), error.code) from error
    if not accepted.proceeds or accepted.decision != WEEK06.proceed:
        if accepted.sign_off and accepted.decision == WEEK06.proceed:
            text = f"the hand-over is sound, and its sign-off says {accepted.sign_off.sentence}"
            raise _refusal(text, "decision_not_proceed", "signed_off_hold")
        text = f"the hand-over is sound, and says {accepted.decision}, not {WEEK06.proceed}"
        raise _refusal(text, "decision_not_proceed", accepted.decision)
    return Received(accepted, _unchanged(accepted, warehouse.partition_state(window), partition))


def _unchanged(accepted: Accepted, state: PartitionState, partition: str) -> PartitionState:
    stated = accepted.evidence.get("output_snapshot_id")
    if stated is None:
        raise _refusal("the evidence names no snapshot of its product", "snapshot_not_stated")
    if stated != state.snapshot_id:
        raise _refusal(
            f"the rows of {partition} are not those that were handed over: expected snapshot {stated}, "
            f"the warehouse has {state.snapshot_id}",
            "partition_changed_after_handover",
        )
    return state


def _refusal(text: str, *codes: str) -> RefusedInputError:
    return RefusedInputError(text, next_step=_ASK_AGAIN, reason_codes=codes)
