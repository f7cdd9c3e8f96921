"""Signed notes: a text, a blank line, and one line for each signature over it.

Source: C2SP signed-note (format and rules of verification), golang.org/x/mod/sumdb/note (limits).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.keys import (
    Signature,
    Signer,
    Verifier,
    decode_base64,
    encode_base64,
    is_key_name,
    require_note_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 100
"""The limit Go's note package has; the specification asks verifiers to take at least 16."""

_SIGNATURE_LINE = "— "
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")  # ASCII control characters except newline


class UnknownSignerError(IntegrityError):
    """The note is well formed, and none of its signatures is by a key on the list."""


@dataclass(frozen=True, slots=True)
class Note:
    """An opened note: its text with the final newline, and its signatures by keys we know and by others.

    `verified` has one signature for each verifier at most, so its length may be held against a quorum.
    """

    text: str
    verified: tuple[Signature, ...]
    unverified: tuple[Signature, ...]


def sign_note(text: str, signers: Iterable[Signer]) -> bytes:
    """Return the note over `text` signed by each signer, in that order.

    Raises: UsageError if there is no signer, for a cosigner's key, or for a text no note can hold.
    """
    return format_note(text, [signer.sign(text) for signer in signers])


def add_signatures(message: bytes, signatures: Sequence[Signature]) -> bytes:
    """Return the note with `signatures` after its own; one by the same key takes the old one's place.

    Verifies nothing: open the result. Raises: IntegrityError if `message` is no well-formed note.
    """
    text, present = split_note(message)
    replaced = {(new.name, new.key_id) for new in signatures}
    return format_note(text, [*(s for s in present if (s.name, s.key_id) not in replaced), *signatures])


def format_note(text: str, signatures: Sequence[Signature]) -> bytes:
    """Return the note of a text and its signatures.

    Raises: UsageError for a text no note can hold, and for no signature or more than MAX_SIGNATURES.
    """
    require_note_text(text)
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise UsageError(f"a note has 1 to {MAX_SIGNATURES} signatures, got {len(signatures)}")
    message = f"{text}\n{''.join(map(format_signature, signatures))}".encode()
    if len(message) > MAX_NOTE_BYTES:
        raise UsageError(f"a note has at most {MAX_NOTE_BYTES} bytes, this would have {len(message)}")
    return message


def format_signature(signature: Signature) -> str:
    """Return one signature line with its newline: em dash, space, name, space, base64(key id ‖ value)."""
    return f"{_SIGNATURE_LINE}{signature.name} {encode_base64(signature.key_id + signature.value)}\n"


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Read signature lines alone, as a witness returns them.

    Raises: IntegrityError if there are none, more than MAX_SIGNATURES, or a line is malformed.
    """
    if not text.endswith("\n"):
        raise IntegrityError("signature lines must end with a newline")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise IntegrityError(f"{len(lines)} signature lines, at most {MAX_SIGNATURES} are read")
    return tuple(_parse_signature(number, line) for number, line in enumerate(lines, start=1))


def split_note(message: bytes) -> tuple[str, tuple[Signature, ...]]:
    """Return text and signatures of a well-formed note, none of them verified.

    Raises: IntegrityError if it is not UTF-8, has control characters, no blank line, or bad signature lines.
    Source: C2SP signed-note, Format.
    """
    if len(message) > MAX_NOTE_BYTES:
        raise IntegrityError(f"note of {len(message)} bytes, at most {MAX_NOTE_BYTES} are read")
    try:
        whole = message.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"note is not UTF-8 at byte {error.start}") from None
    if control := _CONTROL.search(whole):
        raise IntegrityError(f"note has the control character {control.group()!r} at {control.start()}")
    blank = whole.rfind("\n\n")
    if blank < 0:
        raise IntegrityError("note has no blank line before its signatures: it is not signed")
    return whole[: blank + 1], parse_signatures(whole[blank + 2 :])


def open_note(message: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Return the note if a key among `verifiers` signed it and no signature by one of them is wrong.

    Raises: UnknownSignerError if none of the keys signed; IntegrityError for a malformed note or a wrong
    signature; UsageError if two different keys share name and key id.
    Source: C2SP signed-note, Signatures.
    """
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise UsageError(f"two verifier keys are called {verifier.name}+{verifier.key_id.hex()}")
    text, signatures = split_note(message)
    verified: dict[Verifier, Signature] = {}
    unverified: dict[Signature, None] = {}
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            unverified[signature] = None
        elif not key.verifies(text, signature):
            raise IntegrityError(f"the signature by {key.name}+{key.key_id.hex()} is not over this text")
        else:
            verified.setdefault(key, signature)
    if not verified:
        signed_by = ", ".join(f"{other.name}+{other.key_id.hex()}" for other in unverified)
        raise UnknownSignerError(
            f"signed by {signed_by}, which is no key given", next_step="give the log's verifier key"
        )
    return Note(text, tuple(verified.values()), tuple(unverified))


def _parse_signature(number: int, line: str) -> Signature:
    name, separator, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    if not line.startswith(_SIGNATURE_LINE) or not separator or not is_key_name(name):
        raise IntegrityError(f"signature line {number} must read “— name base64”, got {line[:80]!r}")
    data = decode_base64(encoded, f"signature line {number}")
    if len(data) < 5:
        raise IntegrityError(f"signature line {number}: a key id and a signature are at least 5 bytes")
    return Signature(name, data[:4], data[4:])
