"""Checkpoints as they are stored: `checkpoints/<size>`, the bare text of an unsigned ledger or a signed note.

A checkpoint is believed for nothing here but its form: `ledger.verification.verify` holds it against the entries,
and `ledger.sealing.signing` says who has to have signed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.files import read_regular
from run_evidence.ledger.storage.layout import CHECKPOINTS, checkpoint_name, is_checkpoint_name
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.note import MAX_NOTE_BYTES


def read_checkpoint_file(path: Path) -> StoredCheckpoint:
    """Read a copy of a checkpoint from a file outside a ledger. Raises: IntegrityError naming it; OSError."""
    try:
        return parse_stored(read_regular(path, follow=True, max_bytes=MAX_NOTE_BYTES))
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}", next_step=error.next_step) from None


def read_checkpoint(store: Store, size: int) -> StoredCheckpoint | None:
    """Return the stored checkpoint of exactly `size` entries; `None` where there is none.

    Raises: IntegrityError when it is malformed, or of another size than its name.
    """
    name = checkpoint_name(size)
    try:
        head = parse_stored(store.read(name, max_bytes=MAX_NOTE_BYTES))
    except FileNotFoundError:
        return None
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error}", next_step=error.next_step) from None
    if head.checkpoint.size != size:
        raise IntegrityError(
            f"{name}: it is of {head.checkpoint.size} entries, expected {size}.",
            next_step="ledger verify",
        )
    return head


def checkpoint_sizes(store: Store) -> list[int]:
    """Return the sizes that have a stored checkpoint, largest first."""
    return [int(name) for name in reversed(store.names(CHECKPOINTS)) if is_checkpoint_name(name)]


def checkpoints_below(store: Store, below: int) -> Iterator[StoredCheckpoint]:
    """Yield the stored checkpoints of fewer than `below` entries, largest first, each read when it is asked for.

    Raises: what `read_checkpoint` raises.
    """
    for size in checkpoint_sizes(store):
        if size >= below:
            continue
        head = read_checkpoint(store, size)
        if head is not None:
            yield head


def newest_checkpoint(store: Store, at_most: int | None = None) -> StoredCheckpoint | None:
    """Return the stored checkpoint of the largest size (up to `at_most`); `None` where there is none."""
    for size in checkpoint_sizes(store):
        if at_most is None or size <= at_most:
            return read_checkpoint(store, size)
    return None
