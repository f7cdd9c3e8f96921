"""Checkpoints as they are stored: `checkpoints/<size>`, the bare text of an unsigned ledger or a signed note.

A head is believed for nothing here but its form: `ledger.verification.verify` holds it against the entries, and
`ledger.sealing.signing` says who has to have signed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.files import read_regular
from run_evidence.ledger.storage.layout import Layout, is_checkpoint_name
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.note import MAX_NOTE_BYTES


def read_checkpoint_file(path: Path, *, follow: bool = True) -> StoredCheckpoint:
    """Read a head, or a copy of one, from a file; inside a ledger no link is one.

    Raises: IntegrityError naming it; OSError as it comes.
    """
    try:
        return parse_stored(read_regular(path, follow=follow, max_bytes=MAX_NOTE_BYTES))
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}", next_step=error.next_step) from None


def read_checkpoint(layout: Layout, size: int) -> StoredCheckpoint | None:
    """Return the stored head of exactly `size` entries; `None` where there is none.

    Raises: IntegrityError when it is malformed, or of another size than its name.
    """
    path = layout.checkpoint(size)
    try:
        head = read_checkpoint_file(path, follow=False)
    except FileNotFoundError:
        return None
    if head.checkpoint.size != size:
        raise IntegrityError(
            f"checkpoints/{path.name}: it is of {head.checkpoint.size} entries, expected {size}.",
            next_step="ledger verify",
        )
    return head


def checkpoint_sizes(layout: Layout) -> list[int]:
    """Return the sizes that have a stored head, largest first."""
    if not layout.checkpoints.is_dir():
        return []
    return sorted((int(p.name) for p in layout.checkpoints.iterdir() if is_checkpoint_name(p.name)), reverse=True)


def checkpoints_below(layout: Layout, below: int) -> Iterator[StoredCheckpoint]:
    """Yield the stored heads of fewer than `below` entries, largest first, each read when it is asked for.

    Raises: what `read_checkpoint` raises.
    """
    for size in checkpoint_sizes(layout):
        if size >= below:
            continue
        head = read_checkpoint(layout, size)
        if head is not None:
            yield head


def newest_checkpoint(layout: Layout, at_most: int | None = None) -> StoredCheckpoint | None:
    """Return the stored head of the largest size (up to `at_most`); `None` where there is none."""
    for size in checkpoint_sizes(layout):
        if at_most is None or size <= at_most:
            return read_checkpoint(layout, size)
    return None
