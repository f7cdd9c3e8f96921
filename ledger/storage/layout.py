"""What the objects of a ledger are called: arithmetic with names and nothing else (see `docs/format.md`)."""

from __future__ import annotations

import hashlib
import re
from typing import Final

FORMAT_VERSION: Final = 1

MARKER: Final = "ledger.json"
"""What makes a folder a ledger."""

REDACTION: Final = "redaction.json"
"""What this ledger takes out of events, and which it keeps beside the log; there if somebody wrote it."""

NAME_KEY: Final = "redaction.key"
"""The key that tells names with secrets apart, for the owner alone; made when the first one is met."""

LAST_SYNC: Final = "last-sync"
"""When the orchestrator's runs were last walked to their end, in microseconds; a hint for people."""

INBOX: Final = "inbox"
"""Appended and not yet sealed."""

LOG: Final = "log"
"""The Delta Lake table of sealed segments."""

CHECKPOINTS: Final = "checkpoints"
"""Checkpoints, one for each sealed size."""

PAYLOADS: Final = "blobs"
"""Payloads too large for an entry, or personal, each under its SHA-256."""

KEYS: Final = "keys"
"""The public halves of the ledger's own keys, one object for each; made by the first of them."""

TILES: Final = "tile"
"""The tree's hashes as C2SP tiles: a cache, made again from the log when it is gone."""

FOLDERS: Final = (INBOX, LOG, CHECKPOINTS, PAYLOADS)
"""Every folder an append needs."""

_INBOX_NAME = re.compile(r"([0-9]{16})-([0-9a-f]{32})\.jsonl")
SEGMENT_NAME = re.compile(r"[0-9]{16}-[0-9]+-([0-9a-f]{32})-[0-9a-f]{8}\.parquet")
"""First index, count, the beginning of the file's SHA-256 (the group), and digits that make the name unique."""

_ERASED = ".erased"
_ERASED_MARK = re.compile(rf"[0-9a-f]{{64}}{re.escape(_ERASED)}")
_CHECKPOINT_NAME = re.compile(r"[0-9]{16}")


def checkpoint_name(size: int) -> str:
    """Name the checkpoint of the first `size` entries."""
    return f"{CHECKPOINTS}/{size:016d}"


def payload_name(sha256: str) -> str:
    """Name the payload with this digest."""
    return f"{PAYLOADS}/{sha256}"


def erased_name(sha256: str) -> str:
    """Name the mark that the payload with this digest was erased and is not to come back."""
    return f"{PAYLOADS}/{sha256}{_ERASED}"


def inbox_name(recorded_at: int, content: bytes) -> str:
    """Name an appended object: the time it was recorded (microseconds), then its digest (128 bits)."""
    return f"{recorded_at:016d}-{hashlib.sha256(content).hexdigest()[:32]}.jsonl"


def is_inbox_name(name: str) -> bool:
    """Tell an appended object from anything else in the folder."""
    return _INBOX_NAME.fullmatch(name) is not None


def matches_inbox_name(name: str, content: bytes) -> bool:
    """Tell whether the content still is what the name says."""
    match = _INBOX_NAME.fullmatch(name)
    return match is not None and hashlib.sha256(content).hexdigest()[:32] == match[2]


def is_erased_mark(name: str) -> bool:
    """Tell the mark of an erased payload from anything else in the folder."""
    return _ERASED_MARK.fullmatch(name) is not None


def is_segment_name(name: str) -> bool:
    """Tell a segment from a file that another tool put into the log."""
    return SEGMENT_NAME.fullmatch(name) is not None


def is_checkpoint_name(name: str) -> bool:
    """Tell a checkpoint from anything else in the folder."""
    return _CHECKPOINT_NAME.fullmatch(name) is not None
