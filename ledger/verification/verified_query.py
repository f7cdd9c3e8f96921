"""Rows with their proof: every segment behind a query is verified against a checkpoint before the query runs.

A query touches every segment: it learns from each one's statistics whether it has to read it, and forged
statistics would make rows invisible. So all of them are verified, not only those whose rows come out; to verify
the others less would prove that the rows shown are right, and not that none is missing. That costs a full
verification (`ledger verify`), on every processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.query.as_of import NOW, AsOf
from run_evidence.ledger.query.limits import Limits
from run_evidence.ledger.query.snapshot import Snapshot, open_snapshot
from run_evidence.ledger.storage.checkpoints import newest_checkpoint
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.trust import NOTHING_BROUGHT, Trust, require_trusted
from run_evidence.ledger.verification.findings import Finding, Progress
from run_evidence.ledger.verification.verify import verify

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.verification.memory import VerifierMemory


@dataclass(frozen=True, slots=True)
class Verified:
    """A snapshot whose every sealed entry was verified, and the checkpoint they are under.

    `size` is the number of entries that were read: those of the checkpoint, or fewer.
    """

    snapshot: Snapshot
    head: StoredCheckpoint
    size: int


_BESIDE: Final = ("blobs/", "inbox/", "tile/")
"""Where a finding says nothing about the rows: they come from the segments."""


def _is_behind(finding: Finding, size: int) -> bool:
    """Return whether a finding is that entries behind the prefix are not covered yet."""
    return finding.kind == "not covered" and finding.index is not None and finding.index >= size


@contextmanager
def open_verified(
    ledger: Ledger,
    as_of: AsOf = NOW,
    *,
    trust: Trust = NOTHING_BROUGHT,
    limits: Limits | None = None,
    workers: int | None = None,
    progress: Progress = lambda _done, _all: None,
    memory: VerifierMemory | None = None,
) -> Iterator[Verified]:
    """Open a prefix of the log and verify it; entries that wait in the inbox are left out, nothing proves them.

    `memory` is the verifier's own, as for `verify`. What is sealed behind the prefix need not be signed yet.

    Raises: what `open_snapshot` raises; UsageError when there is no checkpoint over the prefix; IntegrityError
    naming the first finding.
    """
    ledger.require()
    head = newest_checkpoint(ledger.store)
    size = as_of.size if as_of.size is not None else head.checkpoint.size if head else 0
    if head is None or head.checkpoint.size < size:
        raise UsageError(
            f"No checkpoint covers the first {size} entries, so nothing proves them yet.", next_step="ledger seal"
        )
    require_trusted(head, trust)
    with open_snapshot(ledger, replace(as_of, size=size), limits=limits or Limits()) as snapshot:
        # The very segments the snapshot reads: what a compaction puts in their place meanwhile is not asked.
        result = verify(ledger, progress, trust=trust, workers=workers, log=snapshot.log, memory=memory)
        touched = [f for f in result.findings if not f.where.startswith(_BESIDE) and not _is_behind(f, size)]
        if touched:
            first = touched[0]
            at = f" entry {first.index}" if first.index is not None else ""
            raise IntegrityError(
                f"{first.where}{at}: {first.problem}; no rows are returned ({len(touched)} findings).",
                next_step="ledger verify",
            )
        yield Verified(snapshot, head, size)
