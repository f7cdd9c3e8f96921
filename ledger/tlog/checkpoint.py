"""The head of a log as three lines of text: whose log, how many entries, which root.

This is the text of the note a log signs; `ledger.tlog.note` puts signatures under it. Extension lines, which the
specification allows and advises against, are refused: nothing of ours writes them, and a line that nobody
reads is a place to hide things.

Source: C2SP tlog-checkpoint, Note text.
"""

from __future__ import annotations

from dataclasses import dataclass

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.keys import Signature, Verifier, decode_base64, encode_base64, require_note_text
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, parse_size
from run_evidence.ledger.tlog.note import MAX_NOTE_BYTES, split_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint: the log's name, its number of entries, and the root over them (32 bytes).

    Raises: IntegrityError for an empty or multi-line origin, a size or root out of range, or a root of an
    empty tree that is not EMPTY_ROOT.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        try:
            require_note_text(f"{self.origin}\n")
        except UsageError:
            raise IntegrityError(f"checkpoint origin {self.origin[:80]!r} has control characters") from None
        if not self.origin or "\n" in self.origin:
            raise IntegrityError(f"checkpoint origin must be one line of text, got {self.origin[:80]!r}")
        if not 0 <= self.size <= MAX_SIZE:
            raise IntegrityError(f"checkpoint of {self.origin}: size {self.size} is outside 0..{MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            got = len(self.root)
            raise IntegrityError(f"checkpoint of {self.origin}: the root must be {HASH_BYTES} bytes, got {got}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise IntegrityError(f"checkpoint of {self.origin}: size 0 with root {self.root.hex()}")


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the three lines, each with its newline: origin, size in decimal, root in base64."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{encode_base64(checkpoint.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read what `format_checkpoint` wrote, which is the text of a note, without its signatures.

    There is exactly one text for each checkpoint.

    Raises: IntegrityError for anything else: other lines, leading zeros, base64 in another form.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        got = len(lines) - 1
        raise IntegrityError(f"a checkpoint is three lines, each ending in a newline, got {got} newlines")
    origin, size, root = lines[:3]
    return Checkpoint(origin, parse_size(size, "checkpoint size"), decode_base64(root, "checkpoint root"))


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint with the exact bytes it is stored as, and the signatures in them, none of them verified."""

    checkpoint: Checkpoint
    text: str
    message: bytes
    signatures: tuple[Signature, ...]

    def names(self, key: Verifier) -> bool:
        """Tell whether a line claims to be `key`'s; whether it is, only `ledger.tlog.note.open_note` can tell."""
        return any((s.name, s.key_id) == (key.name, key.key_id) for s in self.signatures)


def parse_stored(message: bytes) -> StoredCheckpoint:
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
    return StoredCheckpoint(parse_checkpoint(text), text, message, signatures)
