"""The prefix of the sealed log that a document is derived from: how many entries it has, and its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage.checkpoints import newest_checkpoint
from run_evidence.ledger.storage.consistency import (
    calculate_checkpoint,
    calculate_from_entries,
    prove_extension,
    stated_end,
)

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.as_of import AsOf
    from run_evidence.ledger.storage.log import Log
    from run_evidence.ledger.tlog.checkpoint import Checkpoint


def sealed_size(ledger: Ledger, as_of: AsOf) -> int:
    """Return how many entries the longest prefix of the sealed log has that `as_of` covers whole.

    Of a time of recording: the entries before the first that was recorded later. That an event is sealed after
    one that was recorded later (two machines, two clocks) happens; it is in no prefix then that ends between.

    Raises what `open_snapshot` raises; `UsageError` when that is no entry at all.
    """
    with open_snapshot(
        ledger, replace(as_of, recorded_by=None, occurred_by=None), ("events",), payloads=False
    ) as snapshot:
        size = snapshot.sealed
        if as_of.recorded_by is not None:
            later = "SELECT min(index) FROM events WHERE recorded_at > make_timestamptz($by)"
            first = snapshot.rows(later, {"by": as_of.recorded_by})[0][0]
            size = size if first is None else int(first)
    if not size:
        raise UsageError("Nothing was sealed by then.", next_step="a later --as-of, or without it: ledger seal")
    return size


def calculated_checkpoint(ledger: Ledger, log: Log, size: int) -> Checkpoint:
    """Calculate the checkpoint over the first `size` entries of the log, where none of that size is stored.

    From the tiles, and proved to be a prefix of the log's end and of the newest stored checkpoint where that is
    larger; from the entries where the tiles do not lead there and none can be written.

    Raises: IntegrityError when the entries do not lead there either.
    """
    origin, newest = ledger.require(), newest_checkpoint(ledger.store)
    above = newest.checkpoint if newest is not None and newest.checkpoint.size >= size else None
    try:
        head = calculate_checkpoint(ledger.store, log, origin, size)
        prove_extension(ledger.store, lambda: log, head, stated_end(log, origin))
        if above is not None:
            prove_extension(ledger.store, lambda: log, head, above)
    except (IntegrityError, OSError):  # tiles that agree with each other alone, or can neither be read nor made
        head, *others = calculate_from_entries(log, origin, size, *([above.size] if above else []))
        if others and others[0] != above:
            raise IntegrityError(
                f"The log's entries have root {others[0].root.hex()}, which is not that of the checkpoint of "
                f"{others[0].size} entries.",
                next_step="ledger verify",
            ) from None
    return head
