"""Where things lie inside a ledger: path arithmetic and nothing else (see `docs/format.md`)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FORMAT_VERSION = 1

_INBOX_NAME = re.compile(r"([0-9]{16})-([0-9a-f]{32})\.jsonl")
SEGMENT_NAME = re.compile(r"[0-9]{16}-[0-9]+-([0-9a-f]{32})-[0-9a-f]{8}\.parquet")
"""First index, count, the beginning of the file's SHA-256 (the group), and digits that make the name unique."""

_ERASED = ".erased"
_ERASED_MARK = re.compile(rf"[0-9a-f]{{64}}{re.escape(_ERASED)}")
_CHECKPOINT_NAME = re.compile(r"[0-9]{16}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of the ledger at `root`."""

    root: Path

    @property
    def marker(self) -> Path:
        """`ledger.json`: what makes a folder a ledger."""
        return self.root / "ledger.json"

    @property
    def inbox(self) -> Path:
        """Appended and not yet sealed."""
        return self.root / "inbox"

    @property
    def log(self) -> Path:
        """The Delta Lake table of sealed segments."""
        return self.root / "log"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, one file for each sealed size."""
        return self.root / "checkpoints"

    @property
    def blobs(self) -> Path:
        """Payloads too large for an entry, each under its SHA-256."""
        return self.root / "blobs"

    @property
    def keys(self) -> Path:
        """The public halves of the ledger's own keys, one file for each; made by the first of them."""
        return self.root / "keys"

    @property
    def redaction(self) -> Path:
        """What this ledger takes out of events, and which it keeps beside the log; there if somebody wrote it."""
        return self.root / "redaction.json"

    @property
    def name_key(self) -> Path:
        """The key that tells names with secrets apart, for the owner alone; made when the first one is met."""
        return self.root / "redaction.key"

    @property
    def tiles(self) -> Path:
        """The tree's hashes as C2SP tiles: a cache, made again from the log when it is gone."""
        return self.root / "tile"

    @property
    def last_sync(self) -> Path:
        """When the orchestrator's runs were last walked to their end, in microseconds; a hint for people."""
        return self.root / "last-sync"

    def checkpoint(self, size: int) -> Path:
        """Return the path of the checkpoint of the first `size` entries."""
        return self.checkpoints / f"{size:016d}"

    def blob(self, sha256: str) -> Path:
        """Return the path of the payload with this digest."""
        return self.blobs / sha256

    def erased(self, sha256: str) -> Path:
        """Return the path of the mark that the payload with this digest was erased and is not to come back."""
        return self.blobs / f"{sha256}{_ERASED}"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder an append needs."""
        return (self.root, self.inbox, self.log, self.checkpoints, self.blobs)


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
