"""Tree heads as they are stored: `checkpoints/<size>`, the bare text of an unsigned ledger or a signed note.

A head is believed for nothing here but its form: `ledger.verify` holds it against the entries, and
`ledger.signing` says who has to have signed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import IntegrityError
from ledger.keys import Signature, Verifier
from ledger.layout import Layout, is_checkpoint_name
from ledger.note import MAX_NOTE_BYTES, split_note
from ledger.store import read_regular


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head with the exact bytes it is stored as, and the signatures in them, none of them verified."""

    checkpoint: Checkpoint
    text: str
    message: bytes
    signatures: tuple[Signature, ...]

    def names(self, key: Verifier) -> bool:
        """Tell whether a line claims to be `key`'s; whether it is, only `ledger.note.open_note` can tell."""
        return any((s.name, s.key_id) == (key.name, key.key_id) for s in self.signatures)


def parse_head(message: bytes) -> Head:
    """Read a stored head: three lines, or a signed note over three lines.

    Raises: IntegrityError for anything else.
    """
    if b"\n\n" in message or len(message) > MAX_NOTE_BYTES:
        text, signatures = split_note(message)
    else:
        try:
            text, signatures = message.decode(), ()
        except UnicodeDecodeError as error:
            raise IntegrityError(f"a checkpoint is text, byte {error.start} is not UTF-8") from None
    return Head(parse_checkpoint(text), text, message, signatures)


def read_head_file(path: Path, *, follow: bool = True) -> Head:
    """Read a head, or a copy of one, from a file; inside a ledger no link is one.

    Raises: IntegrityError naming it; OSError as it comes.
    """
    try:
        return parse_head(read_regular(path, follow=follow, max_bytes=MAX_NOTE_BYTES))
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}", next_step=error.next_step) from None


def read_head(layout: Layout, size: int) -> Head | None:
    """Return the stored head of exactly `size` entries; `None` where there is none.

    Raises: IntegrityError when it is malformed, or of another size than its name.
    """
    path = layout.checkpoint(size)
    try:
        head = read_head_file(path, follow=False)
    except FileNotFoundError:
        return None
    if head.checkpoint.size != size:
        raise IntegrityError(
            f"checkpoints/{path.name}: it is of {head.checkpoint.size} entries, expected {size}.",
            next_step="ledger verify",
        )
    return head


def head_sizes(layout: Layout) -> list[int]:
    """Return the sizes that have a stored head, largest first."""
    if not layout.checkpoints.is_dir():
        return []
    return sorted((int(p.name) for p in layout.checkpoints.iterdir() if is_checkpoint_name(p.name)), reverse=True)


def heads_down(layout: Layout, below: int) -> Iterator[Head]:
    """Yield the stored heads of fewer than `below` entries, largest first, each read when it is asked for.

    Raises: what `read_head` raises.
    """
    for size in head_sizes(layout):
        if size >= below:
            continue
        head = read_head(layout, size)
        if head is not None:
            yield head


def newest_head(layout: Layout, at_most: int | None = None) -> Head | None:
    """Return the stored head of the largest size (up to `at_most`); `None` where there is none."""
    for size in head_sizes(layout):
        if at_most is None or size <= at_most:
            return read_head(layout, size)
    return None
