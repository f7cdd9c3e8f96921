"""The body of a witness's add-checkpoint request. Source: C2SP tlog-witness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint, parse_stored
from run_evidence.ledger.tlog.keys import decode_base64, encode_base64
from run_evidence.ledger.tlog.merkle import HASH_BYTES, parse_size

MAX_REQUEST_BYTES: Final = 1 << 18
SIZE_TYPE: Final = "text/x.tlog.size"

_MAX_PROOF_LINES: Final = 63


@dataclass(frozen=True, slots=True)
class Request:
    """A submitted checkpoint, the size the client believes was cosigned last, and the proof from there."""

    old_size: int
    proof: tuple[bytes, ...]
    head: StoredCheckpoint


def format_request(old_size: int, proof: tuple[bytes, ...], message: bytes) -> bytes:
    """Return the body of an add-checkpoint request."""
    lines = [f"old {old_size}", *map(encode_base64, proof), ""]
    return "".join(f"{line}\n" for line in lines).encode() + message


def parse_request(body: bytes) -> Request:
    """Read the body of an add-checkpoint request.

    Raises: IntegrityError for anything that is not exactly one.
    """
    above, blank, message = body.partition(b"\n\n")
    lines = above.decode("ascii", "replace").split("\n")
    if not blank or not lines[0].startswith("old ") or len(lines) > 1 + _MAX_PROOF_LINES:
        raise IntegrityError("a request is an old line, at most 63 hashes, a blank line and a signed checkpoint")
    proof = tuple(decode_base64(line, "a consistency proof line") for line in lines[1:])
    if any(len(value) != HASH_BYTES for value in proof):
        raise IntegrityError(f"a consistency proof line is not a hash of {HASH_BYTES} bytes")
    return Request(parse_size(lines[0].removeprefix("old "), "the old line"), proof, parse_stored(message))
