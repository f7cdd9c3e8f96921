"""Whether what was read is what the log holds: each entry is hashed again and led to the root of a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.model.event import decode_entry
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.storage.inclusion import AuditPaths
from run_evidence.ledger.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.snapshot import Snapshot
    from run_evidence.ledger.tlog.checkpoint import Checkpoint

_MOMENTS: Final = frozenset({"occurred_at", "recorded_at"})


def require_included(ledger: Ledger, snapshot: Snapshot, head: Checkpoint, event_ids: Collection[str]) -> int:
    """Pass if each of these events that is sealed lies under a checkpoint, and its columns are what its bytes say.

    Returns how many there are. Cost: one look-up of all, and one multi-proof. What this does not show is an
    entry that was hidden from whoever asked: for that the log is verified whole.

    Raises: IntegrityError naming the index.
    """
    columns = ", ".join(f"epoch_us({name})" if name in _MOMENTS else name for name in COLUMNS)
    sql = (
        f"SELECT index, entry, {columns} FROM stored_entries "  # noqa: S608 - our own names
        "WHERE index IS NOT NULL AND event_id IN (SELECT unnest($ids::VARCHAR[])) ORDER BY index"
    )
    rows = snapshot.rows(sql, {"ids": sorted(event_ids)})
    paths = AuditPaths(ledger.store, snapshot.log, head)
    leaves = [(index, leaf_hash(bytes(entry))) for index, entry, *_ in rows]
    together = _lie_together(paths, leaves)
    for (index, entry, *values), (_, leaf) in zip(rows, leaves, strict=True):
        try:
            if not together:
                paths.path(index, leaf)
            derived = decode_entry(bytes(entry)).values
        except IntegrityError as error:
            raise IntegrityError(f"Entry {index}: {error}", next_step="ledger verify") from None
        if derived != tuple(values):
            raise IntegrityError(
                f"Entry {index}: the columns it was read by are not what its bytes say.", next_step="ledger verify"
            )
    return len(rows)


def _lie_together(paths: AuditPaths, leaves: Sequence[tuple[int, bytes]]) -> bool:
    """Tell whether all leaves lead to the root. False means undecided: the path of each names the fault."""
    try:
        paths.shared(leaves)
    except (IntegrityError, UsageError):
        return False
    return True
