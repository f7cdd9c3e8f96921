"""Where a ledger's objects lie in its folder, for tests that damage them or look behind the ledger's back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from run_evidence.ledger import Ledger
from run_evidence.ledger.storage import layout


@dataclass(frozen=True)
class Paths:
    """The files and folders of the ledger at `root`."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / layout.MARKER

    @property
    def redaction(self) -> Path:
        return self.root / layout.REDACTION

    @property
    def name_key(self) -> Path:
        return self.root / layout.NAME_KEY

    @property
    def inbox(self) -> Path:
        return self.root / layout.INBOX

    @property
    def log(self) -> Path:
        return self.root / layout.LOG

    @property
    def checkpoints(self) -> Path:
        return self.root / layout.CHECKPOINTS

    @property
    def blobs(self) -> Path:
        return self.root / layout.PAYLOADS

    @property
    def keys(self) -> Path:
        return self.root / layout.KEYS

    @property
    def tiles(self) -> Path:
        return self.root / layout.TILES

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.root, self.inbox, self.log, self.checkpoints, self.blobs)

    def checkpoint(self, size: int) -> Path:
        return self.root / layout.checkpoint_name(size)

    def blob(self, sha256: str) -> Path:
        return self.root / layout.payload_name(sha256)

    def erased(self, sha256: str) -> Path:
        return self.root / layout.erased_name(sha256)


def paths(ledger: Ledger) -> Paths:
    """Return where the objects of this ledger are."""
    return Paths(ledger.root)
