"""Which prefix of the ledger is meant: all of it, what a checkpoint covers, or what was there by a time.

A time of recording is read in two ways. For rows (`query`, `runs`, `show`) it is a condition on each entry, and
unsealed ones count. A document is derived from a prefix of the tree, so for it the time becomes a size
(`prefix.sealed_size`), and the checkpoint over that many entries is calculated where none was stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import EnvironmentFault, UsageError
from run_evidence.ledger.storage.files import is_file

if TYPE_CHECKING:
    from run_evidence.ledger.tlog.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class AsOf:
    """A prefix. All that is given holds at once; times are in microseconds and included.

    `size`: the first so many entries. `head`: and they have this root. `recorded_by`: when the ledger took
    them down. `occurred_by`: when they happened, which cuts across the order of the log. `unsigned`: as its
    checkpoint was before anybody signed it, for documents, which say who did.
    """

    size: int | None = None
    recorded_by: int | None = None
    occurred_by: int | None = None
    head: Checkpoint | None = None
    unsigned: bool = False

    @property
    def past(self) -> bool:
        """Whether it is cut off somewhere in the log, so that nothing appended from now on belongs to it."""
        return self.size is not None or self.recorded_by is not None

    def condition(self) -> str:
        """Return the SQL condition on an entry; built from integers alone."""
        parts = []
        if self.size is not None:
            parts.append(f"index < {self.size:d}")
        if self.recorded_by is not None:
            parts.append(f"recorded_at <= make_timestamptz({self.recorded_by:d})")
        if self.occurred_by is not None:
            parts.append(f"occurred_at <= make_timestamptz({self.occurred_by:d})")
        return " AND ".join(parts) or "true"


NOW = AsOf()

_SIZE_DIGITS: Final = 18
"""Of a number of entries; no log is larger, and DuckDB compares in 64 bits."""


def parse_as_of(text: str | None, occurred: str | None = None) -> AsOf:
    """Read `--as-of` and `--as-of-occurred`.

    The first is a number of entries, a checkpoint file, or an ISO 8601 time of recording (UTC where it names no
    offset); the second a time at which things happened.

    Raises `UsageError` for anything else; `IntegrityError` when the file is no checkpoint.
    """
    found = _prefix(text) if text is not None else NOW
    if occurred is not None:
        found = replace(found, occurred_by=_time("--as-of-occurred", occurred))
    return found


def _prefix(text: str) -> AsOf:
    if text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS:
        return AsOf(size=int(text))
    path = Path(text)
    if is_file(path):
        return _checkpoint(path)
    return AsOf(recorded_by=_time("--as-of", text))


def _checkpoint(path: Path) -> AsOf:
    from run_evidence.ledger.storage.checkpoints import read_checkpoint_file

    try:
        head = read_checkpoint_file(path).checkpoint
    except OSError as error:
        raise EnvironmentFault(f"The checkpoint {path} cannot be read: {error.strerror}.") from None
    return AsOf(size=head.size, head=head)


def _time(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        what = "neither a number of entries nor a time, and no file" if option == "--as-of" else "no time"
        raise UsageError(
            f"{option} {text!r:.200} is {what}.", next_step=f"for example {option} 2026-04-17T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
